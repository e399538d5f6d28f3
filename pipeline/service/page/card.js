// What is known of the instance that is looked at, beside the pointer or in a corner.

import { h, say } from "./dom.js";
import { colourOf, css } from "./palette.js";
import { count, duration } from "./words.js";

export class Card {
  constructor() {
    this._name = h("strong", {});
    this._swatch = h("span", { class: "swatch" });
    this._facts = {};
    const rows = ["score", "seen for", "path", "area", "box"].map((name) => {
      this._facts[name] = h("dd", {});
      return [h("dt", {}, name), this._facts[name]];
    });
    this.element = h(
      "div",
      { class: "card", hidden: true },
      h("p", {}, this._swatch, this._name),
      h("dl", {}, ...rows.flat()),
    );
  }

  /** Of an instance, null for none; `pointer` says beside what. */
  show(instance, { record, tracks, pointer, kept }) {
    this.element.hidden = instance === null;
    if (instance === null) return;
    const { track, label, score, area, box, predicted } = instance;
    say(this._name, `${label}${track === null ? "" : ` #${track}`}`);
    this._swatch.style.background = css(colourOf(instance));
    const life = tracks.of(track);
    const facts = {
      score: `${score.toFixed(2)}${predicted ? ", carried by the tracker" : ""}`,
      "seen for": life ? duration(Math.max(record.pts_s - life.first_s, 0)) : "–",
      path: life ? `${count(Math.round(length(life.path)))} px` : "–",
      area: `${count(area)} px`,
      box: box.map((value) => Math.round(value)).join(" "),
    };
    for (const [name, text] of Object.entries(facts)) say(this._facts[name], text);
    this.element.classList.toggle("kept", kept);
    this._place(pointer);
  }

  _place(pointer) {
    const { style, parentElement, offsetWidth, offsetHeight } = this.element;
    const room = parentElement.getBoundingClientRect();
    const beside = (at, size, most) => Math.max(Math.min(at + 16, most - size - 6), 6);
    const left = pointer ? beside(pointer.left, offsetWidth, room.width) : 8;
    const top = pointer ? beside(pointer.top, offsetHeight, room.height) : 8;
    style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}

function length(path) {
  let sum = 0;
  for (let at = 1; at < path.length; at += 1) {
    sum += Math.hypot(path[at][0] - path[at - 1][0], path[at][1] - path[at - 1][1]);
  }
  return sum;
}
