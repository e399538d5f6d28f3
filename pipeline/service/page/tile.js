// One stream in the grid: its picture as the service draws it, and how it is.

import { h, say } from "./dom.js";
import { Watching } from "./watching.js";
import { duration, figure, milliseconds, toneOf, total, trouble, unasked } from "./words.js";

const FPS = 8;

export class Tile {
  constructor(id, seen) {
    this._id = id;
    this._picture = h("div", { class: "picture" });
    this._state = h("span", { class: "state" });
    this._figures = h("span", { class: "figures" });
    this._trouble = h("p", { class: "trouble", hidden: true });
    this.element = h(
      "a",
      { class: "tile", href: `#/stream/${encodeURIComponent(id)}`, "data-stream": id },
      this._picture,
      this._trouble,
      h("div", { class: "line" }, h("strong", {}, id), this._state, this._figures),
    );
    this._seen = seen;
    seen.set(this.element, this);
    seen.observer.observe(this.element);
  }

  /** It has come into sight, or gone out of it: nobody sends what nobody sees. */
  set visible(visible) {
    if (visible && !this._watching) this._watching = this._look();
    if (!visible) this._leave();
  }

  show(stream, still) {
    const { state, rates, accounting } = stream;
    say(this._state, state);
    const words = trouble(stream) ?? (still === null ? null : `no new picture for ${duration(still)}`);
    const kind = still === null ? toneOf(stream) : "bad";
    this._state.dataset.tone = kind;
    const lost = total(unasked(rates?.lost)) / (rates?.seconds || 1);
    const parts = [`${figure(rates?.fps_out)} fps`];
    parts.push(milliseconds(rates?.stages.end_to_end?.p99_ms));
    if (lost >= 0.1) parts.push(`${figure(lost)}/s lost`);
    say(this._figures, accounting ? parts.join(" · ") : "");
    this._trouble.hidden = words === null;
    this._trouble.dataset.tone = kind;
    say(this._trouble, words ?? "");
    this.element.dataset.tone = kind;
    this.element.dataset.state = state;
    this.element.setAttribute("aria-label", [this._id, state, words].filter(Boolean).join(", "));
  }

  close() {
    this._seen.observer.unobserve(this.element);
    this._leave();
  }

  _leave() {
    this._watching?.close();
    this._watching = null;
  }

  _look() {
    const width = this._picture.clientWidth * Math.min(window.devicePixelRatio, 2);
    const look = { annotated: true, width, fps: FPS };
    return new Watching(this._id, look, this._picture, ({ frame }) => {
      this.element.dataset.frame = frame;
      this.element.dataset.shown = Number(this.element.dataset.shown ?? 0) + 1;
    });
  }
}
