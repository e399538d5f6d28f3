// What happened to streams and workers, the newest first.

import { h } from "./dom.js";
import { Passed } from "./passed.js";
import { clock, tone } from "./words.js";

const AT_MOST = 200;

export class Happened {
  /** `short`: the few that fit beside the grid. */
  constructor(feed, { short = false } = {}) {
    this._feed = feed;
    this._most = short ? 14 : AT_MOST;
    this._none = h("p", { class: "hint" }, "Nothing yet.");
    this._list = h("ol", { class: "happened" });
    this._news = () => this._show();
    feed.addEventListener("change", this._news);
    const title = short ? "Events" : "Streams and workers";
    this.element = h("section", { class: "part", "aria-label": title }, h("h2", {}, title), this._none, this._list);
    this._show();
  }

  update() {}

  close() {
    this._feed.removeEventListener("change", this._news);
  }

  _show() {
    const changes = this._feed.changes.slice(0, this._most);
    this._none.hidden = changes.length > 0;
    this._list.replaceChildren(...changes.map(row));
  }
}

/** That, and the tracks of all streams. */
export class Everything {
  constructor(feed) {
    this._happened = new Happened(feed);
    this._passed = new Passed(null);
    this.element = h("div", { class: "everything" }, this._passed.element, this._happened.element);
  }

  update() {}

  close() {
    this._happened.close();
    this._passed.close();
  }
}

function row({ at, what, name, was, now, detail }) {
  const words = was === null ? `came, ${now}` : now === null ? "went" : now;
  const title = what === "stream" ? h("a", { href: `#/stream/${encodeURIComponent(name)}` }, name) : `worker ${name}`;
  return h(
    "li",
    {},
    h("time", { datetime: new Date(at * 1000).toISOString() }, clock(at)),
    h("strong", {}, title),
    h("span", { class: "state", "data-tone": now === null ? "idle" : tone(now) }, words),
    detail && h("p", { class: "detail" }, detail),
  );
}
