// What this page has seen of each track: since when, and along which path.

const POINTS = 96;
const FORGOTTEN_S = 20; // of the source's time

export class Tracks {
  constructor() {
    this._known = new Map();
    this._epoch = null;
  }

  /** Take in a record. */
  see(record) {
    if (record.epoch !== this._epoch) {
      this._known.clear();
      this._epoch = record.epoch;
    }
    for (const instance of record.instances) {
      if (instance.track === null) continue;
      let life = this._known.get(instance.track);
      if (!life) {
        life = { first_s: record.pts_s, path: [] };
        this._known.set(instance.track, life);
      }
      const [x1, y1, x2, y2] = instance.box;
      life.path.push([(x1 + x2) / 2, (y1 + y2) / 2]);
      if (life.path.length > POINTS) life.path.shift();
      life.last_s = record.pts_s;
    }
    for (const [track, life] of this._known) {
      if (record.pts_s - life.last_s > FORGOTTEN_S) this._known.delete(track);
    }
  }

  /** `{first_s, last_s, path}`, or undefined. */
  of(track) {
    return this._known.get(track);
  }
}
