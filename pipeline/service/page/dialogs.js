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
    } finally {
      go.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

function field(name, label, attributes = {}, hint = null) {
  const control = attributes.rows
    ? h("textarea", { name, id: `field-${name}`, spellcheck: "false", ...attributes })
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

/** Ask whether to remove one. */
export function removeStream(id, done) {
  const words = h("p", {}, `What ${id} has in flight is still published; what it has published stays.`);
  const submit = () => ask("DELETE", streamPath(id));
  open(`Remove ${id}?`, [words], { verb: "Remove", kind: "danger", submit, done });
}

/** A stream as the API takes it; what was left empty is left out. */
function spec(form) {
  const text = (name) => form.get(name).trim();
  const found = { id: text("id"), url: text("url") };
  if (!found.id) delete found.id;
  for (const name of ["min_score", "max_fps"]) {
    const number = Number(text(name).replace(",", "."));
    if (text(name)) found[name] = Number.isNaN(number) ? text(name) : number;
  }
  const classes = text("classes").split(",").map((one) => one.trim()).filter(Boolean);
  if (classes.length) found.classes = classes;
  const sinks = text("sinks").split("\n").map((one) => one.trim()).filter(Boolean);
  if (sinks.length) found.sinks = sinks;
  return found;
}
