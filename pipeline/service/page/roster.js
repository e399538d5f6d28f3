// Which instances are in the picture, by name, and which classes are shown.

import { h, keyed, say } from "./dom.js";
import { keyOf, nameOf } from "./overlay.js";
import { colourOf, css } from "./palette.js";

const EVERY_MS = 250; // nobody reads faster
const AT_MOST = 60;

export class Roster {
  /** `show.hidden` holds the classes that are not shown; `changed` is called when it is another. */
  constructor(show, { changed, looked, kept }) {
    this._show = show;
    this._changed = changed;
    this._looked = looked;
    this._kept = kept;
    this._classes = h("div", { class: "chips", role: "group", "aria-label": "Classes" });
    this._list = h("ul", { class: "roster", "aria-label": "Instances in the picture" });
    this._none = h("p", { class: "hint" }, "Nothing in the picture.");
    this._chips = new Map();
    this._rows = new Map();
    this._at = 0;
    this.element = h("section", { class: "part" }, h("h2", {}, "In the picture"), this._classes, this._none, this._list);
  }

  update({ instances }, kept) {
    const now = performance.now();
    if (now - this._at < EVERY_MS) return;
    this._at = now;
    this._showClasses(instances);
    const shown = instances.filter(({ label }) => !this._show.hidden.has(label));
    shown.sort((a, b) => (a.track ?? 0) - (b.track ?? 0));
    const byKey = new Map(shown.slice(0, AT_MOST).map((one) => [String(keyOf(one)), one]));
    this._none.hidden = shown.length > 0;
    keyed(this._list, [...byKey.keys()], (key) => this._row(key, byKey.get(key)), this._rows);
    for (const [key, instance] of byKey) {
      const { button, name, score } = this._rows.get(key);
      say(name, nameOf(instance));
      say(score, instance.score.toFixed(2));
      button.setAttribute("aria-pressed", String(kept) === key);
    }
  }

  _showClasses(instances) {
    const counts = new Map();
    for (const { label } of instances) counts.set(label, (counts.get(label) ?? 0) + 1);
    for (const label of this._chips.keys()) if (!counts.has(label)) counts.set(label, 0);
    const labels = [...counts.keys()].sort();
    keyed(this._classes, labels, (label) => this._chip(label), this._chips);
    for (const [label, { element, number }] of this._chips) {
      say(number, String(counts.get(label)));
      element.setAttribute("aria-pressed", !this._show.hidden.has(label));
    }
  }

  _chip(label) {
    const number = h("span", { class: "number" });
    const press = () => {
      const { hidden } = this._show;
      if (!hidden.delete(label)) hidden.add(label);
      element.setAttribute("aria-pressed", !hidden.has(label));
      this._at = 0;
      this._changed();
    };
    const element = h("button", { type: "button", class: "chip", onclick: press }, label, number);
    return { element, number };
  }

  _row(key, instance) {
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = css(colourOf(instance));
    const name = h("span", { class: "name" });
    const score = h("span", { class: "score" });
    const id = keyOf(instance);
    const button = h(
      "button",
      {
        type: "button",
        onclick: () => this._kept(id),
        onpointerenter: () => this._looked(id),
        onfocus: () => this._looked(id),
        onpointerleave: () => this._looked(null),
        onblur: () => this._looked(null),
      },
      swatch, name, score,
    );
    return { element: h("li", {}, button), button, name, score };
  }
}
