// How a stream is doing: charts of the last minutes, and where every frame went.

import { Chart } from "./chart.js";
import { h, say } from "./dom.js";
import { count, figure, heldUp, milliseconds, total } from "./words.js";

const QUIET = new Set(["nothing", "unknown"]);

export class Facts {
  constructor() {
    this._fps = new Chart("Frames a second, out and in", (value) => figure(value));
    this._age = new Chart("Age when published, p99 and p50", milliseconds);
    this._lost = new Chart("Lost a second", (value) => figure(value));
    this._heldUp = h("p", { class: "hint held-up" });
    this._table = h("table", { class: "facts" });
    this._text = "";
    this.element = h(
      "section",
      { class: "part" },
      h("h2", {}, "How it is doing"),
      this._heldUp,
      h("div", { class: "charts" }, this._fps.element, this._age.element, this._lost.element),
      this._table,
    );
  }

  update(stream, series, bottleneck) {
    const ours = bottleneck.source === null ? stream.rates?.fps_in > 0 : bottleneck.source === stream.id;
    say(this._heldUp, ours && !QUIET.has(bottleneck.kind) ? heldUp(bottleneck) : "");
    this._fps.show(series.fpsOut, series.fpsIn);
    this._age.show(series.p99, series.p50);
    this._lost.show(series.lost);
    const rows = this._rows(stream);
    const text = JSON.stringify(rows);
    if (text === this._text) return;
    this._text = text;
    this._table.replaceChildren(
      ...rows.map(([name, value, kind]) =>
        h("tr", { class: kind }, h("th", { scope: "row" }, name), h("td", {}, value)),
      ),
    );
  }

  _rows({ accounting, sinks, restarts }) {
    if (!accounting) return [];
    const causes = { ...accounting.dropped, ...accounting.failed };
    const rows = [
      ["captured", count(accounting.captured)],
      ["published", count(accounting.published)],
      ["in flight", count(accounting.in_flight)],
      ["dropped or failed", count(total(causes))],
      ...Object.entries(causes).map(([cause, number]) => [cause, count(number), "sub"]),
      ...Object.entries({
        reconnects: accounting.reconnects,
        "decode errors": accounting.decode_errors,
        "restarts of its worker": restarts,
      }).filter(([, number]) => number).map(([name, number]) => [name, count(number)]),
    ];
    for (const { name, state, delivered, queued, dropped, failed } of sinks) {
      const lost = total(dropped) + total(failed);
      const parts = [state, `${count(delivered)} delivered`];
      if (queued) parts.push(`${count(queued)} queued`);
      if (lost) parts.push(`${count(lost)} lost`);
      rows.push([`sink ${name}`, parts.filter(Boolean).join(", ")]);
    }
    return rows;
  }
}
