// A small chart: lines over the last minutes, the newest at the right.

import { h, say } from "./dom.js";

const POINTS = 120;
const HEIGHT = 44;

export class Chart {
  /** `write` makes text of a value. */
  constructor(title, write) {
    this._write = write;
    this._value = h("span", { class: "value" });
    this._most = h("span", { class: "most" });
    this._canvas = h("canvas", { height: HEIGHT, role: "img", "aria-label": title });
    this._second = h("span", { class: "second", hidden: true });
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("span", {}, title), this._value),
      this._canvas,
      this._most,
      this._second,
    );
  }

  /** Lists of numbers or nulls; the first is the one that is told, the second is drawn fainter. */
  show(list, other = []) {
    const most = Math.max(...list.map((value) => value ?? 0), ...other.map((value) => value ?? 0));
    const text = this._write(list.at(-1) ?? null);
    say(this._value, text);
    say(this._most, most > 0 ? this._write(most) : "");
    const scale = window.devicePixelRatio;
    const canvas = this._canvas;
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(HEIGHT * scale)];
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const top = most > 0 ? most * 1.15 : 1;
    line(context, other, top, getComputedStyle(this._second).color, 1 * scale);
    line(context, list, top, getComputedStyle(canvas).color, 1.6 * scale);
  }
}

function line(context, list, top, colour, thick) {
  const { width, height } = context.canvas;
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.lineJoin = "round";
  context.beginPath();
  let down = false;
  list.forEach((value, number) => {
    if (value === null) {
      down = false;
      return;
    }
    const x = ((POINTS - list.length + number + 1) / POINTS) * width;
    const y = height - thick - (value / top) * (height - 2 * thick);
    if (down) context.lineTo(x, y);
    else context.moveTo(x, y);
    down = true;
  });
  context.stroke();
}
