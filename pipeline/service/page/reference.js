// The API, told from its own document: nothing is loaded from elsewhere to read it.

import { h } from "./dom.js";

const READING = new Set(["get", "head"]);
let told;

/** Text, with what stands between backticks as code. */
function prose(text) {
  return text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));
}

function resolved(schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? told.components.schemas[name] : schema ?? {};
}

/** A type in words. */
function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).filter((word) => word !== "null").join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items) || "values"}`;
  return schema.type ?? "any";
}

function rows(title, entries) {
  if (!entries.length) return [];
  const pairs = entries.flatMap(([name, words]) => [
    h("dt", {}, h("code", {}, name)),
    h("dd", {}, prose(words)),
  ]);
  return [h("h3", {}, title), h("dl", {}, pairs)];
}

function fields(schema) {
  const { properties = {}, required = [] } = resolved(schema);
  return Object.entries(properties).map(([name, one]) => {
    const words = [kind(one), required.includes(name) ? "required" : "", one.description ?? ""];
    return [name, words.filter(Boolean).join(" · ")];
  });
}

function operation(method, path, asked) {
  const parameters = (asked.parameters ?? []).map((one) => {
    const words = [one.in, kind(one.schema), one.required ? "required" : "", one.description ?? ""];
    return [one.name, words.filter(Boolean).join(" · ")];
  });
  const body = asked.requestBody?.content?.["application/json"]?.schema;
  const answers = Object.entries(asked.responses).map(([status, one]) => {
    const [type, content] = Object.entries(one.content ?? {})[0] ?? ["", {}];
    return [status, [one.description, type, kind(content.schema)].filter(Boolean).join(" · ")];
  });
  return h(
    "details",
    {},
    h(
      "summary",
      {},
      h("span", { class: "method", "data-changes": !READING.has(method) }, method.toUpperCase()),
      h("code", {}, path),
      h("span", { class: "muted" }, prose(asked.description?.split(/[.;:](?:\s|$)/)[0] ?? "")),
    ),
    h("p", {}, prose(asked.description ?? "")),
    rows("Parameters", parameters),
    rows("Body", fields(body)),
    rows("Answers", answers),
  );
}

function tell() {
  const byTag = new Map();
  for (const [path, methods] of Object.entries(told.paths)) {
    for (const [method, asked] of Object.entries(methods)) {
      const tag = asked.tags?.[0] ?? "other";
      byTag.set(tag, [...(byTag.get(tag) ?? []), operation(method, path, asked)]);
    }
  }
  return [...byTag].map(([tag, operations]) => h("section", {}, h("h2", {}, tag), operations));
}

const main = document.getElementById("main");
const answer = await fetch("openapi.json", { credentials: "same-origin" }).catch(() => null);
if (answer?.ok) {
  told = await answer.json();
  main.append(...tell());
} else {
  const why = answer?.status === 401 ? "A token is needed: log in on " : "The service does not answer: see ";
  main.append(h("p", {}, why, h("a", { href: "./" }, "the page"), "."));
}
