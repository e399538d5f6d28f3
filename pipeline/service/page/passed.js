// Tracks that came and went: a picture of each, what it was, since when and for how long.

import { streamPath } from "./api.js";
import { Channel } from "./channel.js";
import { h, say } from "./dom.js";
import { clock, duration } from "./words.js";

const AT_MOST = 100;
const AGAIN_MS = 2000;
const CROP_PX = 56;
const MOMENT_S = 0.3; // what is noticed a few times a second has no finer length

export class Passed {
  /** Of the stream `id`, null for all; `chosen` is called with a track that is there. */
  constructor(id, chosen = null) {
    this._chosen = chosen;
    this._named = id === null;
    this._rows = new Map(); // by life, the oldest first
    this._none = h("p", { class: "hint" }, "No track has come or gone yet.");
    this._list = h("ol", { class: "passed" });
    this.element = h("section", { class: "part", "aria-label": "Tracks" }, h("h2", {}, "Tracks"), this._none, this._list);
    const path = id === null ? "v1/events/tracks" : `v1/${streamPath(id, "/events/live")}`;
    this._channel = new Channel(path, ["track"], (_kind, _id, event) => this._take(event));
    this._again = setInterval(() => { if (this._channel.closed) this._channel.open(); }, AGAIN_MS);
  }

  close() {
    clearInterval(this._again);
    this._channel.close();
  }

  _take(event) {
    let row = this._rows.get(event.life);
    if (!row) {
      row = new Row(event, { named: this._named, chosen: this._chosen });
      this._rows.set(event.life, row);
      this._list.prepend(row.element);
    }
    row.show(event);
    this._none.hidden = true;
    for (const [life, { element }] of this._rows) {
      if (this._rows.size <= AT_MOST) break;
      element.remove();
      this._rows.delete(life);
    }
  }
}

class Row {
  constructor({ source, label, track, at, pts_s, captured_at }, { named, chosen }) {
    this._source = source;
    this._track = track;
    const size = { width: CROP_PX, height: CROP_PX };
    this._image = h("img", { alt: "", loading: "lazy", hidden: true, ...size });
    this._for = h("span", { class: "state" });
    this._time = h("time", { datetime: captured_at ?? new Date(at * 1000).toISOString() },
      captured_at ? clock(Date.parse(captured_at) / 1000) : `at ${duration(pts_s)}`);
    const press = chosen && ((event) => {
      event.preventDefault();
      if (this._there) chosen(track);
    });
    this._link = h("a", { onclick: press ?? (() => {}) },
      h("span", { class: "crop" }, this._image),
      h("span", { class: "told" },
        h("strong", {}, `${label} #${track}`), named ? h("span", { class: "where" }, source) : null,
        this._for, this._time));
    this.element = h("li", {}, this._link);
  }

  /** Its last event. */
  show({ event, duration_s, reason, crop }) {
    this._there = event === "new";
    const place = `#/stream/${encodeURIComponent(this._source)}`;
    this._link.href = this._there ? `${place}/${this._track}` : place;
    this._link.title = this._there ? "Show it in the picture" : (ENDS[reason] ?? "");
    if (crop) this._image.src = crop.slice(1); // the page may lie behind a prefix
    this._image.hidden = !this._image.src;
    this._for.dataset.tone = this._there ? "good" : "idle";
    const lasted = duration_s === null ? "gone" : duration_s < MOMENT_S ? "a moment" : duration(duration_s);
    say(this._for, this._there ? "there" : lasted);
    this.element.dataset.track = this._track;
    this.element.dataset.event = event;
  }
}

const ENDS = {
  gone: "It went out of the picture",
  epoch: "The camera was opened anew",
  stream: "The stream is over",
  lost: "Its worker was replaced",
};
