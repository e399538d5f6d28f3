// All streams at a glance.

import { h, keyed } from "./dom.js";
import { Tile } from "./tile.js";

export class Grid {
  constructor(feed, add) {
    this._feed = feed;
    this._tiles = new Map();
    this._seen = new Map();
    this._seen.observer = new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) this._see(target, isIntersecting);
    });
    this._grid = h("div", { class: "grid" });
    this._empty = h(
      "div",
      { class: "empty", hidden: true },
      h("p", {}, "No stream yet."),
      h("button", { type: "button", class: "main", onclick: add }, "Add the first"),
    );
    this.element = h("section", { class: "streams", "aria-label": "Streams" }, this._empty, this._grid);
    this._hide = () => this._hidden();
    document.addEventListener("visibilitychange", this._hide);
  }

  update() {
    const streams = this._feed.overview?.streams;
    if (!streams) return;
    this._empty.hidden = streams.length > 0;
    const ids = streams.map((stream) => stream.id);
    keyed(this._grid, ids, (id) => new Tile(id, this._seen), this._tiles);
    for (const stream of streams) this._tiles.get(stream.id).show(stream);
  }

  close() {
    document.removeEventListener("visibilitychange", this._hide);
    this._seen.observer.disconnect();
    for (const tile of this._tiles.values()) tile.close();
  }

  _see(element, visible) {
    const tile = this._seen.get(element);
    if (!tile) return;
    tile.inSight = visible;
    tile.visible = visible && !document.hidden;
  }

  _hidden() {
    for (const tile of this._tiles.values()) tile.visible = tile.inSight && !document.hidden;
  }
}
