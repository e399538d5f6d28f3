// What streams did in the last minutes, a point for each overview.

import { total, unasked } from "./words.js";

const POINTS = 120;
const STILL_S = 4;
const OVER = 3; // overviews a rate is taken over: fewer jump, more are late

export class Series {
  constructor() {
    this._streams = new Map();
  }

  /** Take in an overview. */
  add({ at, streams }) {
    const there = new Set(streams.map(({ id }) => id));
    for (const id of this._streams.keys()) if (!there.has(id)) this._streams.delete(id);
    for (const stream of streams) this._one(stream, at);
  }

  /** `{fpsIn, fpsOut, p50, p99, lost}`, lists of numbers or nulls, and `movedAt`, unix seconds. */
  of(id) {
    return this._streams.get(id) ?? { fpsIn: [], fpsOut: [], p50: [], p99: [], lost: [], counted: [] };
  }

  /** Seconds without a result of a stream that says it streams; null while there is no doubt. */
  stillFor({ id, state, paused }, at) {
    const { movedAt } = this.of(id);
    if (state !== "streaming" || paused || movedAt === undefined) return null;
    return at - movedAt >= STILL_S ? at - movedAt : null;
  }

  _one({ id, accounting, rates }, at) {
    const counted = accounting && {
      at,
      captured: accounting.captured,
      published: accounting.published,
      lost: total(unasked(accounting.dropped)) + total(accounting.failed),
    };
    const one = this._streams.get(id) ?? this.of(id);
    const [before] = one.counted;
    const rate = (key) => {
      if (!counted || !before || at <= before.at) return null;
      return Math.max(counted[key] - before[key], 0) / (at - before.at);
    };
    const age = rates?.stages.end_to_end;
    push(one.fpsIn, rate("captured"));
    push(one.fpsOut, rate("published"));
    push(one.lost, rate("lost"));
    push(one.p50, age?.p50_ms ?? null);
    push(one.p99, age?.p99_ms ?? null);
    if (counted?.published !== one.counted.at(-1)?.published) one.movedAt = at;
    push(one.counted, counted, OVER);
    this._streams.set(id, one);
  }
}

function push(list, value, most = POINTS) {
  list.push(value);
  if (list.length > most) list.shift();
}
