// What the service tells of itself: an overview every second, and what happens.

import { Channel } from "./channel.js";

const SILENT_MS = 3500; // an overview comes every second
const AGAIN_MS = 1000;
const KEPT = 500;

/** Dispatches "overview", "change" and "link"; `overview` and `changes` hold what there is. */
export class Feed extends EventTarget {
  constructor() {
    super();
    this.overview = null;
    this.changes = [];
    this.linked = null; // not known yet
    this._heardAt = performance.now();
    this._channel = new Channel("v1/events", ["overview", "change"], (...event) => this._take(...event));
    setInterval(() => this._listen(), 500);
  }

  /** One stream as the last overview tells of it. */
  stream(id) {
    return this.overview?.streams.find((stream) => stream.id === id) ?? null;
  }

  _take(kind, id, data) {
    if (kind === "overview") {
      this.overview = data;
      this._heard();
    } else if (this.changes.some((change) => change.id === id)) {
      return;
    } else {
      this.changes.unshift({ id, ...data });
      this.changes.length = Math.min(this.changes.length, KEPT);
    }
    this.dispatchEvent(new Event(kind));
  }

  _heard() {
    this._heardAt = performance.now();
    this._link(true);
  }

  _listen() {
    const now = performance.now();
    if (now - this._heardAt > SILENT_MS) this._link(false);
    // What is closed is opened again; and a half-open connection tells nothing.
    const silent = now - Math.max(this._heardAt, this._channel.openedAt);
    if (silent > (this._channel.closed ? AGAIN_MS : 3 * SILENT_MS)) this._channel.open();
  }

  _link(linked) {
    if (this.linked === linked) return;
    this.linked = linked;
    this.dispatchEvent(new Event("link"));
  }
}
