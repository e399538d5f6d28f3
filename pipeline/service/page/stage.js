// The picture of one stream with its masks drawn here, from the data, over the picture as it came.

import { h } from "./dom.js";
import { Live } from "./live.js";
import { Masks } from "./masks.js";
import { draw, hit, keyOf, visible } from "./overlay.js";
import { Tracks } from "./tracks.js";

const FPS = 15;
const WIDEST = 1920;
const KEPT = 60; // shots one can step back to

export class Stage {
  /**
   * `show` says what is drawn and may change; `told` is called with the record of every picture
   * drawn, `chose` when another instance is looked at or kept.
   */
  constructor(id, show, { told, chose }) {
    this.tracks = new Tracks();
    this.record = null;
    this.kept = null; // key of an instance
    this.paused = false;
    this._id = id;
    this._show = show;
    this._told = told;
    this._chose = chose;
    this._items = [];
    this._shots = [];
    this._pointer = null;
    this._picture = h("canvas", {
      class: "shot", width: 16, height: 9, role: "img", "aria-label": `Live picture of ${id}`,
    });
    this._overlay = h("canvas", { class: "overlay" });
    this.element = h(
      "div",
      {
        class: "stage",
        onpointermove: (event) => this._point(event),
        onpointerleave: () => this._point(null),
        onclick: (event) => this._keep(event),
      },
      this._picture,
      this._overlay,
    );
    this._masks = new Masks();
    this._resized = new ResizeObserver(() => this.redraw());
    this._resized.observe(this.element);
    this._seen = () => this._follow(!document.hidden);
    document.addEventListener("visibilitychange", this._seen);
  }

  /** Begin; the element is in the page and has its width. */
  open() {
    this._follow(!document.hidden);
  }

  close() {
    this._closed = true;
    document.removeEventListener("visibilitychange", this._seen);
    this._resized.disconnect();
    this._follow(false);
    this._goOn?.();
    this._masks.close();
  }

  /** The instance that is looked at: the one under the pointer, else the one kept. */
  get chosen() {
    const under = this._pointer && hit(this._items, this._pointer.x, this._pointer.y);
    return under ?? this._items.find(({ instance }) => keyOf(instance) === this.kept)?.instance ?? null;
  }

  /** Where the pointer is, in pixels of the element; null where it is not over the picture. */
  get pointer() {
    return this._pointer;
  }

  pause(paused) {
    if (this.paused === paused) return;
    this.paused = paused;
    this._at = this._shots.length - 1;
    if (!paused) this._goOn?.();
  }

  /** While paused: so many pictures forwards, or back; false where there is none. */
  step(by) {
    const at = this._at + by;
    if (!this.paused || !this._shots[at]) return false;
    this._at = at;
    this._paint(this._shots[at]);
    return true;
  }

  keep(key) {
    this.kept = this.kept === key ? null : key;
    this._again();
  }

  /** Look at an instance by its key as if the pointer were on it. */
  redraw(key = null) {
    const { record } = this;
    if (!record || !this.element.clientWidth) return;
    const overlay = this._overlay;
    const width = Math.round(overlay.clientWidth * window.devicePixelRatio);
    const height = Math.round(overlay.clientHeight * window.devicePixelRatio);
    if (overlay.width !== width) overlay.width = width;
    if (overlay.height !== height) overlay.height = height;
    const chosen = key ?? (this.chosen && keyOf(this.chosen));
    const scale = width / record.width;
    const { tracks, _show: show } = this;
    draw(overlay.getContext("2d"), this._items, { show, scale, tracks, chosen });
  }

  /** What is shown has changed: which classes, what of them. */
  async refilter() {
    if (this._shot && !this._painting) await this._paint(this._shot);
  }

  _follow(follow) {
    if (follow && !this._live && !this._closed) {
      const width = Math.min(this.element.clientWidth * window.devicePixelRatio, WIDEST);
      this._live = new Live(this._id, { annotated: false, width, fps: FPS }, (shot) => this._take(shot));
    }
    if (!follow) {
      this._live?.close();
      this._live = null;
    }
  }

  async _take(shot) {
    if (this.paused) {
      await new Promise((goOn) => { this._goOn = goOn; });
      return; // it is old by now, the next is the newest
    }
    this._shots.push(shot);
    if (this._shots.length > KEPT) this._shots.shift();
    this.tracks.see(shot.record);
    await this._paint(shot);
  }

  async _paint(shot) {
    const { record, jpeg } = shot;
    this._painting = shot;
    const made = Promise.all([createImageBitmap(jpeg), this._masks.of(record.instances)]);
    const [bitmap, shapes] = await made.catch((error) => {
      this._painting = null;
      throw error;
    });
    if (this._closed || this._painting !== shot) return; // another was asked for meanwhile
    this._painting = null;
    const picture = this._picture;
    if (picture.width !== bitmap.width) picture.width = bitmap.width;
    if (picture.height !== bitmap.height) picture.height = bitmap.height;
    picture.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    for (const { shape } of this._items) shape?.picture?.close();
    this._shot = shot;
    this.record = record;
    this._items = visible(record, shapes, this._show);
    this.element.style.setProperty("--ratio", record.width / record.height);
    this.element.dataset.frame = record.frame;
    this.element.dataset.shown = Number(this.element.dataset.shown ?? 0) + 1;
    this.redraw();
    this._told(record);
    this._chose(this.chosen);
  }

  _point(event) {
    this._pointer = null;
    if (event && this.record) {
      const bounds = this._overlay.getBoundingClientRect();
      const scale = this.record.width / bounds.width;
      const [left, top] = [event.clientX - bounds.left, event.clientY - bounds.top];
      this._pointer = { x: left * scale, y: top * scale, left, top };
    }
    this._again();
  }

  _keep(event) {
    this._point(event);
    const under = this._pointer && hit(this._items, this._pointer.x, this._pointer.y);
    this.kept = under && keyOf(under) !== this.kept ? keyOf(under) : null;
    this._again();
  }

  _again() {
    this.redraw();
    this._chose(this.chosen);
  }
}
