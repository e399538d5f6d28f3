// What is drawn over a picture: masks, boxes, trails, tags. Everything in pixels of the source.

import { colourOf, css, ink } from "./palette.js";

const TAG_PX = 12;
const NARROW_PX = 9.5;
const NARROW = 560; // pixels on the screen
const DIMMED = 0.4;

/** What is to be seen; `only` is a set of class names, null for all. */
export const EVERYTHING = { masks: true, boxes: false, ids: true, trails: false, hidden: new Set() };

/** Instances of a record with their pixels, those of hidden classes left out. */
export function visible(record, shapes, show) {
  return record.instances
    .map((instance, number) => ({ instance, shape: shapes[number] }))
    .filter(({ instance }) => !show.hidden.has(instance.label));
}

/** The instance whose mask holds a pixel; the smallest where several do. */
export function hit(items, x, y) {
  const holding = items.filter(({ shape }) => {
    if (!shape) return false;
    const [column, row] = [Math.floor(x) - shape.x, Math.floor(y) - shape.y];
    const inside = column >= 0 && row >= 0 && column < shape.width && row < shape.height;
    return inside && shape.bits[row * shape.width + column] === 1;
  });
  holding.sort((a, b) => a.instance.area - b.instance.area);
  return holding[0]?.instance ?? null;
}

/**
 * Draw on a canvas that is `scale` times as large as the source.
 * `chosen` is the key of the instance that is looked at, see `keyOf`.
 */
export function draw(context, items, { show, scale, tracks, chosen }) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const some = items.some(({ instance }) => keyOf(instance) === chosen);
  for (const { instance, shape } of items) {
    context.globalAlpha = some && keyOf(instance) !== chosen ? DIMMED : 1;
    if (show.masks && shape?.picture) fill(context, shape, scale);
    if (show.boxes) box(context, instance, scale);
    if (show.trails || keyOf(instance) === chosen) trail(context, instance, tracks, scale);
  }
  const one = items.find(({ instance }) => keyOf(instance) === chosen);
  if (one && !show.boxes) box(context, one.instance, scale);
  for (const { instance } of items) {
    context.globalAlpha = some && keyOf(instance) !== chosen ? DIMMED : 1;
    if (show.ids || keyOf(instance) === chosen) tag(context, instance, scale);
  }
  context.globalAlpha = 1;
}

/** By what an instance is known again in the next record. */
export const keyOf = (instance) => instance.track ?? `${instance.label} ${instance.box}`;

export const nameOf = ({ label, track }) => (track === null ? label : `${label} #${track}`);

function fill(context, { x, y, width, height, picture }, scale) {
  context.drawImage(picture, x * scale, y * scale, width * scale, height * scale);
}

function box(context, instance, scale) {
  const [x1, y1, x2, y2] = instance.box.map((value) => value * scale);
  context.lineWidth = 1.5 * window.devicePixelRatio;
  context.strokeStyle = css(colourOf(instance));
  context.setLineDash(instance.predicted ? [6, 4] : []);
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
}

function trail(context, instance, tracks, scale) {
  const path = tracks.of(instance.track)?.path ?? [];
  context.lineWidth = 2 * window.devicePixelRatio;
  context.lineCap = "round";
  for (let number = 1; number < path.length; number += 1) {
    context.strokeStyle = css(colourOf(instance), 0.15 + (0.85 * number) / path.length);
    context.beginPath();
    context.moveTo(path[number - 1][0] * scale, path[number - 1][1] * scale);
    context.lineTo(path[number][0] * scale, path[number][1] * scale);
    context.stroke();
  }
}

function tag(context, instance, scale) {
  const narrow = context.canvas.clientWidth < NARROW;
  const px = (narrow ? NARROW_PX : TAG_PX) * window.devicePixelRatio;
  const text = nameOf(instance);
  context.font = `600 ${px}px system-ui, sans-serif`;
  const width = context.measureText(text).width + px * 0.8;
  const height = px * 1.45;
  const x = Math.min(Math.max(instance.box[0] * scale, 0), context.canvas.width - width);
  const y = Math.max(instance.box[1] * scale - height, 0);
  const rgb = colourOf(instance);
  context.fillStyle = css(rgb, 0.92);
  context.beginPath();
  context.roundRect(x, y, width, height, px * 0.25);
  context.fill();
  context.fillStyle = ink(rgb);
  context.fillText(text, x + px * 0.4, y + height - px * 0.42);
}
