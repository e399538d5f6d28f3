// One stream in the grid: its picture as the service draws it, and how it is.

import { h, say } from "./dom.js";
import { Live, address, hasSockets } from "./live.js";
import { duration, figure, milliseconds, toneOf, total, trouble, unasked } from "./words.js";

const FPS = 8;
const MJPEG_AT_MOST = 3; // a browser keeps six connections to a server; API and events need theirs
const REFRESH_MS = 1000;

let mjpegs = 0;

export class Tile {
  constructor(id, seen) {
    this._id = id;
    this._canvas = h("canvas", { width: 16, height: 9 });
    this._picture = h("div", { class: "picture" }, this._canvas);
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
    if (visible && !this._live) this._live = this._look();
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
    this.element.setAttribute("aria-label", [this._id, state, words].filter(Boolean).join(", "));
  }

  close() {
    this._seen.observer.unobserve(this.element);
    this._leave();
  }

  _leave() {
    this._live?.close();
    this._live = null;
  }

  _look() {
    const width = this._picture.clientWidth * Math.min(window.devicePixelRatio, 2);
    const look = { annotated: true, width, fps: FPS };
    return hasSockets() ? new Live(this._id, look, (shot) => this._draw(shot)) : this._image(look);
  }

  async _draw({ record, jpeg }) {
    const bitmap = await createImageBitmap(jpeg);
    const canvas = this._canvas;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.element.dataset.frame = record.frame;
    this.element.dataset.shown = Number(this.element.dataset.shown ?? 0) + 1;
  }

  /** Without WebSocket: MJPEG for the first few, a still once a second for the others. */
  _image(look) {
    const image = h("img", { alt: "" });
    this._picture.replaceChildren(image);
    image.addEventListener("load", () => { image.dataset.loaded = "yes"; });
    if (mjpegs < MJPEG_AT_MOST) {
      mjpegs += 1;
      image.src = address(this._id, "live.mjpg", look);
      return { close: () => { mjpegs -= 1; image.src = ""; image.remove(); } };
    }
    const still = () => { image.src = `${address(this._id, "snapshot.jpg", look)}&at=${Date.now()}`; };
    still();
    const timer = setInterval(still, REFRESH_MS);
    return { close: () => { clearInterval(timer); image.remove(); } };
  }
}
