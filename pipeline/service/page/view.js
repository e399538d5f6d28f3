// One stream: its picture with masks one can point at, and all there is to know of it.

import { ask, streamPath } from "./api.js";
import { Card } from "./card.js";
import { h, say } from "./dom.js";
import { Facts } from "./facts.js";
import { address, hasSockets } from "./live.js";
import { EVERYTHING, keyOf } from "./overlay.js";
import { Passed } from "./passed.js";
import { Roster } from "./roster.js";
import { Stage } from "./stage.js";
import { clock, duration, toneOf, trouble } from "./words.js";

const SWITCHES = { masks: "m", boxes: "b", ids: "i", trails: "t" };
const SAID_MS = 8000;

export class StreamView {
  constructor(id, { feed, series, change, remove, mayChange }) {
    this._id = id;
    this._feed = feed;
    this._series = series;
    this._show = { ...EVERYTHING, hidden: new Set() };
    this._state = h("span", { class: "state" });
    this._frame = h("span", { class: "muted frame" });
    this._notice = h("p", { class: "notice", role: "status", hidden: true });
    this._pauseFrame = h("button", { type: "button", "aria-pressed": "false", onclick: () => this._freeze() }, "Freeze");
    this._pauseStream = h("button", { type: "button", onclick: () => this._suspend() }, "Pause");
    this._problem = h("p", { class: "problem", role: "alert", hidden: true });
    this._said = h("p", { class: "muted said", role: "status" });
    const buttons = [
      this._pauseStream,
      h("button", { type: "button", onclick: () => this._set(change) }, "Settings"),
      h("button", { type: "button", class: "danger", onclick: () => remove(id) }, "Remove"),
    ];
    this._facts = new Facts();
    this._passed = new Passed(id, (track) => this.keep(track));
    const picture = hasSockets() ? this._drawn() : this._plain();
    this.element = h(
      "section",
      { class: "view", "aria-label": `Stream ${id}` },
      h("header", { class: "head" }, h("a", { class: "back", href: "#/" }, "← All"), h("h1", {}, id),
        this._state, this._frame, h("span", { class: "actions" }, ...(mayChange() ? buttons : []))),
      this._problem,
      this._said,
      h("div", { class: "left" }, picture, this._tools ?? null, this._passed.element),
      h("aside", { class: "right" }, this._roster?.element ?? null, this._facts.element),
    );
    this._keys = (event) => this._key(event);
    document.addEventListener("keydown", this._keys);
  }

  /** The element is in the page; `track` is looked at first, as long as it is there. */
  open(track) {
    this._stage?.open();
    if (track) this.keep(Number(track));
  }

  /** Look at a track that is in the picture. */
  keep(track) {
    if (!this._stage) return;
    if (this._stage.kept !== track) this._stage.keep(track);
    this._stage.element.scrollIntoView({ block: "nearest" });
  }

  close() {
    document.removeEventListener("keydown", this._keys);
    this._passed.close();
    this._stage?.close();
    if (this._image) this._image.src = "";
  }

  update() {
    const stream = this._feed.stream(this._id);
    if (!this._feed.overview) return;
    if (!stream) {
      this._notify("There is no such stream.");
      return;
    }
    say(this._state, stream.state);
    this._state.dataset.tone = toneOf(stream);
    say(this._pauseStream, stream.paused ? "Resume" : "Pause");
    const still = this._series.stillFor(stream, this._feed.overview.at);
    const words = trouble(stream) ?? (still === null ? null : `no new picture for ${duration(still)}`);
    this._notice.dataset.tone = still === null ? toneOf(stream) : "bad";
    this._notify(words ? words[0].toUpperCase() + words.slice(1) : null);
    this._facts.update(stream, this._series.of(this._id), this._feed.overview.bottleneck);
  }

  _drawn() {
    this._card = new Card();
    this._stage = new Stage(this._id, this._show, {
      told: (news) => this._told(news),
      chose: (instance) => this._chose(instance),
    });
    this._roster = new Roster(this._show, {
      changed: () => this._stage.refilter(),
      looked: (key) => this._stage.redraw(key),
      kept: (key) => this._stage.keep(key),
    });
    const switches = Object.entries(SWITCHES).map(([name, key]) => this._switch(name, key));
    const hint = h("span", { class: "hint keys" }, "space freezes, ← → step, m b i t switch");
    this._tools = h("div", { class: "tools", role: "toolbar", "aria-label": "What is drawn" },
      this._pauseFrame, ...switches, hint);
    this._stage.element.append(this._card.element, this._notice);
    return this._stage.element;
  }

  /** Without WebSocket: as the service draws it, and nothing to point at. */
  _plain() {
    const look = { annotated: true, width: Math.min(window.innerWidth, 1280), fps: 10 };
    this._image = h("img", { class: "shot", alt: `Stream ${this._id}`, src: address(this._id, "live.mjpg", look) });
    this._image.addEventListener("load", () => { this._image.dataset.loaded = "yes"; });
    const hint = h("p", { class: "hint" },
      "This browser has no WebSocket: the masks are part of the picture and cannot be pointed at.");
    this._tools = hint;
    return h("div", { class: "stage" }, this._image, this._notice);
  }

  _switch(name, key) {
    const press = () => {
      this._show[name] = !this._show[name];
      button.setAttribute("aria-pressed", this._show[name]);
      this._stage.redraw();
    };
    const button = h(
      "button",
      { type: "button", class: "switch", "aria-pressed": String(this._show[name]), "aria-keyshortcuts": key, onclick: press },
      name[0].toUpperCase() + name.slice(1),
    );
    this[`_${name}`] = button;
    return button;
  }

  _told(record) {
    const at = record.captured_at ? clock(Date.parse(record.captured_at) / 1000) : `${record.pts_s.toFixed(2)} s`;
    say(this._frame, `frame ${record.frame} · ${at} · ${record.width}×${record.height}`);
    this._roster.update(record, this._stage.kept);
  }

  _chose(instance) {
    const { record, tracks, pointer, kept } = this._stage;
    const isKept = instance !== null && keyOf(instance) === kept;
    this._card.show(instance, { record, tracks, pointer: isKept ? null : pointer, kept: isKept });
    this._stage.element.classList.toggle("pointing", instance !== null);
  }

  _freeze() {
    const paused = !this._stage.paused;
    this._stage.pause(paused);
    this._pauseFrame.setAttribute("aria-pressed", paused);
    say(this._pauseFrame, paused ? "Go on" : "Freeze");
  }

  _suspend() {
    const paused = this._feed.stream(this._id)?.paused;
    return this._try(() => ask("POST", streamPath(this._id, paused ? "/resume" : "/pause")));
  }

  /** As they are now: the last overview may not have the stream yet. */
  _set(change) {
    return this._try(async () => {
      change(await ask("GET", streamPath(this._id)), (answer) => this._changed(answer));
    });
  }

  /** Do something that the service may refuse. */
  async _try(work) {
    try {
      await work();
      this._problem.hidden = true;
    } catch (error) {
      this._problem.hidden = false;
      say(this._problem, error.message);
    }
  }

  /** What came of a change; why the stream begins anew stays to be read. */
  _changed({ running, why, first_frame: first }) {
    clearTimeout(this._saying);
    if (!running) {
      say(this._said, `The stream begins anew with these settings: ${why}`);
      return;
    }
    say(this._said, `These settings hold from ${first ? `frame ${first.frame}` : "the next frame"} on.`);
    this._saying = setTimeout(() => say(this._said, ""), SAID_MS);
  }

  _notify(text) {
    this._notice.hidden = text === null;
    say(this._notice, text ?? "");
    this.element.classList.toggle("troubled", text !== null && this._notice.dataset.tone === "bad");
  }

  _key(event) {
    const { target, key, ctrlKey, metaKey, altKey } = event;
    if (!this._stage || ctrlKey || metaKey || altKey || target.closest("input, textarea, select, dialog")) return;
    const name = Object.keys(SWITCHES).find((one) => SWITCHES[one] === key);
    if (name) this[`_${name}`].click();
    else if (key === " " && !target.closest("button, a")) this._freeze();
    else if (key === "ArrowLeft" || key === "ArrowRight") this._step(key === "ArrowLeft" ? -1 : 1);
    else if (key === "Escape" && this._stage.kept !== null) this._stage.keep(this._stage.kept);
    else return;
    event.preventDefault();
  }

  _step(by) {
    if (!this._stage.paused) this._freeze();
    this._stage.step(by);
  }
}
