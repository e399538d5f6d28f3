// All streams at a glance.

import { h, keyed } from "./dom.js";
import { Happened } from "./happened.js";
import { Tile } from "./tile.js";

export class Grid {
  constructor(feed, series, { add, mayChange }) {
    this._feed = feed;
    this._series = series;
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
      mayChange() ? h("button", { type: "button", class: "main", onclick: add }, "Add the first") : null,
    );
    this._happened = new Happened(feed, { short: true });
    this.element = h(
      "div",
      { class: "overview" },
      h("section", { class: "streams", "aria-label": "Streams" }, this._empty, this._grid),
      h("aside", {}, this._happened.element),
    );
    this._hide = () => this._hidden();
    document.addEventListener("visibilitychange", this._hide);
  }

  update() {
    if (!this._feed.overview) return;
    const { streams, at } = this._feed.overview;
    this._empty.hidden = streams.length > 0;
    this._grid.style.setProperty("--columns", Math.ceil(Math.sqrt(streams.length)));
    const ids = streams.map((stream) => stream.id);
    keyed(this._grid, ids, (id) => new Tile(id, this._seen), this._tiles);
    for (const stream of streams) {
      const still = this._series.stillFor(stream, at);
      this._tiles.get(stream.id).show(stream, still);
    }
  }

  close() {
    document.removeEventListener("visibilitychange", this._hide);
    this._seen.observer.disconnect();
    this._happened.close();
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
