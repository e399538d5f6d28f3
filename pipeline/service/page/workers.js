// The segment workers and what waits where.

import { h, keyed, say } from "./dom.js";
import { count, figure, heldUp, milliseconds, tone, toneOf, total } from "./words.js";

const STAGES = ["decode", "queue", "segment", "track", "sink", "end_to_end"];

/** A table whose rows are kept: `columns` are `[title, (item) => text or {text, tone, share}]`. */
class Table {
  constructor(title, columns, key) {
    this._columns = columns;
    this._key = key;
    this._rows = new Map();
    this._body = h("tbody");
    this.element = h(
      "div",
      { class: "scroll" },
      h("table", { class: "wide" },
        h("caption", {}, title),
        h("thead", {}, h("tr", {}, ...columns.map(([name]) => h("th", { scope: "col" }, name)))),
        this._body),
    );
  }

  show(items) {
    const byKey = new Map(items.map((item) => [this._key(item), item]));
    keyed(this._body, [...byKey.keys()], () => this._row(), this._rows);
    for (const [key, item] of byKey) {
      this._columns.forEach(([, write], number) => {
        const cell = this._rows.get(key).cells[number];
        const found = write(item);
        const { text, tone: kind, share } = typeof found === "string" ? { text: found } : found;
        say(cell.text, text);
        cell.text.className = kind ? "state" : "";
        if (kind) cell.text.dataset.tone = kind;
        cell.meter.hidden = share === undefined;
        if (share !== undefined) cell.meter.value = share;
      });
    }
  }

  _row() {
    const cells = this._columns.map(() => {
      const text = h("span");
      const meter = h("meter", { min: 0, max: 1, high: 0.9, hidden: true, "aria-hidden": "true" });
      return { element: h("td", {}, meter, text), text, meter };
    });
    return { element: h("tr", {}, ...cells.map(({ element }) => element)), cells };
  }
}

const gigabytes = (bytes) => (bytes / 1e9).toFixed(1);

const WORKER = [
  ["Worker", ({ worker }) => worker],
  ["State", ({ state }) => ({ text: state, tone: tone(state) })],
  ["Busy", ({ busy }) => (busy === null ? "–" : { text: `${Math.round(100 * busy)} %`, share: busy })],
  ["GPU", ({ gpu }) => (gpu ? { text: `${Math.round(100 * gpu.use)} %`, share: gpu.use } : "–")],
  ["GPU memory", ({ gpu }) => (gpu ? `${gigabytes(gpu.used_bytes)} of ${gigabytes(gpu.total_bytes)} GB` : "–")],
  ["Frames a second", ({ fps }) => figure(fps)],
  ["Frames a batch", ({ frames_a_batch: each }) => figure(each)],
  ["Waiting", ({ waiting }) => count(waiting)],
  ["Frames", ({ frames }) => count(frames)],
  ["Failed", ({ failed }) => count(total(failed))],
  ["Restarts", ({ restarts }) => count(restarts)],
];

const QUEUE = [
  ["Stream", ({ id }) => id],
  ["State", (stream) => ({ text: stream.state, tone: toneOf(stream) })],
  ["In flight", ({ accounting }) => (accounting ? count(accounting.in_flight) : "–")],
  ...STAGES.map((stage) => [
    `${stage === "end_to_end" ? "age" : stage} p99`,
    ({ rates }) => milliseconds(rates?.stages[stage]?.p99_ms),
  ]),
  ["Sinks: queued", ({ sinks }) => count(sinks.reduce((sum, { queued }) => sum + queued, 0))],
];

export class Workers {
  constructor(feed) {
    this._feed = feed;
    this._workers = new Table("Segment workers", WORKER, ({ worker }) => worker);
    this._queues = new Table("Where frames are, lately", QUEUE, ({ id }) => id);
    this._heldUp = h("p", { class: "hint held-up" });
    this.element = h(
      "section",
      { class: "tables", "aria-label": "Workers" },
      this._heldUp, this._workers.element, this._queues.element,
    );
  }

  update() {
    const { overview } = this._feed;
    if (!overview) return;
    say(this._heldUp, heldUp(overview.bottleneck));
    this._workers.show(overview.workers);
    this._queues.show(overview.streams);
  }

  close() {}
}
