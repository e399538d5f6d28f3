// Forms that change something; what the service refuses is shown in its own words.

import { ask, streamPath } from "./api.js";
import { h, say } from "./dom.js";

/** A dialog around a form; `submit` does the work and may throw, `done` is called behind it. */
function open(title, parts, { submit, verb, kind = "main", done }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const go = h("button", { type: "submit", class: kind }, verb);
  const form = h(
    "form",
    { novalidate: true },
    h("h2", {}, title),
    ...parts,
    problem,
    h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), go),
  );
  const dialog = h("dialog", { "aria-label": title, onclose: () => dialog.remove() }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const answer = await submit(new FormData(form));
      dialog.close();
      done?.(answer);
    } catch (error) {
      problem.hidden = false;
      say(problem, error.message);
      problem.scrollIntoView({ block: "nearest" });
    } finally {
      go.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** What may be changed of a stream; a camera's holds from its next frame on. */
const CHANGED = {
  min_score: ["Least score", "0.5"],
  max_fps: ["Frames a second at most", "all"],
  stride: ["Every so many-th frame", "1"],
  segment_every: ["Segment every so many-th", "1"],
  max_latency_ms: ["Oldest, in milliseconds", "any"],
};

function field(name, label, attributes = {}, hint = null) {
  const { value, ...others } = attributes;
  const control = attributes.rows
    ? h("textarea", { name, id: `field-${name}`, spellcheck: "false", ...others }, value)
    : h("input", { name, id: `field-${name}`, autocomplete: "off", spellcheck: "false", ...attributes });
  if (hint) control.setAttribute("aria-describedby", `hint-${name}`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("p", { class: "hint", id: `hint-${name}` }, hint),
  );
}

/** Ask for a stream; `done` gets its answer. */
export function addStream(done) {
  const parts = [
    field("url", "Address", { required: true, placeholder: "rtsp://10.0.0.7/stream1" }),
    field("id", "Id", { required: true, placeholder: "gate" }, "Letters, digits, - and _; goes into file names and records."),
    h("div", { class: "pair" },
      field("min_score", "Least score", { inputmode: "decimal", placeholder: "0.5" }),
      field("max_fps", "Frames a second at most", { inputmode: "decimal", placeholder: "all" })),
    field("classes", "Classes", { placeholder: "all" }, "Names, with commas between them."),
    field("sinks", "Sinks of its own", { rows: 2, placeholder: "jsonl:out/{source}.jsonl" },
      "One a line, beside those of the configuration."),
  ];
  open("Add a stream", parts, { verb: "Add", submit: (form) => ask("POST", "streams", spec(form)), done });
}

/** Ask for other settings of a stream, those it has filled in; `done` gets the answer. */
export function changeStream({ id, url, settings }, done) {
  const numbers = Object.entries(CHANGED).map(([name, [label, placeholder]]) =>
    field(name, label, { inputmode: "decimal", placeholder, value: settings[name] ?? "" }));
  const adaptive = h("input", { type: "checkbox", name: "adaptive", id: "field-adaptive", checked: settings.adaptive });
  const parts = [
    field("url", "Address", { value: url }, "Another address begins the stream anew."),
    h("div", { class: "pair" }, ...numbers),
    field("classes", "Classes", { placeholder: "all", value: (settings.classes ?? []).join(", ") }),
    field("include", "Only inside of", { rows: 2, placeholder: "0,0 640,0 640,360", value: corners(settings.include) },
      "Polygons in pixels of the source, one a line."),
    field("ignore", "Not inside of", { rows: 2, placeholder: "none", value: corners(settings.ignore) }),
    field("sinks", "Sinks of its own", { rows: 2, placeholder: "none", value: (settings.sinks ?? []).map(urlOf).join("\n") },
      "One a line, beside those of the configuration. What *** hides stays as it is."),
    h("div", { class: "tick" }, adaptive, h("label", { for: adaptive.id }, "Carry by the tracker what would be dropped")),
  ];
  const submit = (form) => ask("PATCH", streamPath(id), changes(form, { url, ...settings }));
  open(`Settings of ${id}`, parts, { verb: "Change", submit, done });
}

/** Ask whether to remove one. */
export function removeStream(id, done) {
  const words = h("p", {}, `What ${id} has in flight is still published; what it has published stays.`);
  const submit = () => ask("DELETE", streamPath(id));
  open(`Remove ${id}?`, [words], { verb: "Remove", kind: "danger", submit, done });
}

const urlOf = (sink) => sink.url ?? sink;

/** Sinks by the URLs of a form, those there as they are: some have settings of their own. */
function sinksOf(urls, there = []) {
  const left = [...there];
  return urls?.map((url) => {
    const at = left.findIndex((one) => urlOf(one) === url);
    return at < 0 ? { url } : left.splice(at, 1)[0];
  });
}

/** Polygons as a form has them, one a line: "0,0 640,0 640,360". */
const corners = (polygons = []) => polygons.map((one) => one.map((point) => point.join(",")).join(" ")).join("\n");

/** The same back; what is no number stays as it is, for the service to say so. */
const polygons = (text) => listed(text, "\n")?.map((line) =>
  line.split(/[\s;]+/).map((point) => point.split(",").map((value) => number(value) ?? value)));

/** What a form says otherwise than the settings; null where it was emptied. */
function changes(form, settings) {
  const found = {};
  const note = (name, value) => {
    if (JSON.stringify(value ?? null) !== JSON.stringify(settings[name] ?? null)) found[name] = value ?? null;
  };
  for (const name of Object.keys(CHANGED)) note(name, number(form.get(name)));
  note("url", form.get("url").trim());
  note("classes", listed(form.get("classes"), ","));
  for (const name of ["include", "ignore"]) note(name, polygons(form.get(name)));
  note("sinks", sinksOf(listed(form.get("sinks"), "\n"), settings.sinks));
  if (form.has("adaptive") !== Boolean(settings.adaptive)) found.adaptive = form.has("adaptive");
  return found;
}

/** A number, what is none as it is, undefined for nothing. */
function number(text) {
  const value = Number(text.trim().replace(",", "."));
  return text.trim() ? (Number.isNaN(value) ? text.trim() : value) : undefined;
}

/** What stands between separators, undefined for nothing. */
function listed(text, separator) {
  const found = text.split(separator).map((one) => one.trim()).filter(Boolean);
  return found.length ? found : undefined;
}

/** A stream as the API takes it; what was left empty is left out. */
function spec(form) {
  const found = {
    id: form.get("id").trim() || undefined,
    url: form.get("url").trim(),
    min_score: number(form.get("min_score")),
    max_fps: number(form.get("max_fps")),
    classes: listed(form.get("classes"), ","),
    sinks: listed(form.get("sinks"), "\n"),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}
