// What the service tells of itself: an overview every second, and what happens.

const SILENT_MS = 3500; // an overview comes every second
const KEPT = 500;

/** Dispatches "overview", "change" and "link"; `overview` and `changes` hold what there is. */
export class Feed extends EventTarget {
  constructor() {
    super();
    this.overview = null;
    this.changes = [];
    this.linked = null; // not known yet
    this._heardAt = performance.now();
    this._open();
    setInterval(() => this._listen(), 500);
  }

  /** One stream as the last overview tells of it. */
  stream(id) {
    return this.overview?.streams.find((stream) => stream.id === id) ?? null;
  }

  _open() {
    this._source?.close();
    this._openedAt = performance.now();
    this._source = new EventSource("v1/events");
    this._source.addEventListener("overview", (event) => {
      this.overview = JSON.parse(event.data);
      this._heard();
      this.dispatchEvent(new Event("overview"));
    });
    this._source.addEventListener("change", (event) => {
      if (this.changes.some((change) => change.id === event.lastEventId)) return;
      this.changes.unshift({ id: event.lastEventId, ...JSON.parse(event.data) });
      this.changes.length = Math.min(this.changes.length, KEPT);
      this.dispatchEvent(new Event("change"));
    });
  }

  _heard() {
    this._heardAt = performance.now();
    this._link(true);
  }

  _listen() {
    const now = performance.now();
    if (now - this._heardAt > SILENT_MS) this._link(false);
    // A browser gives up on some answers, a proxy's say; and a half-open connection tells nothing.
    const silent = now - Math.max(this._heardAt, this._openedAt);
    if (this._source.readyState === EventSource.CLOSED ? silent > 1000 : silent > 3 * SILENT_MS) {
      this._open();
    }
  }

  _link(linked) {
    if (this.linked === linked) return;
    this.linked = linked;
    this.dispatchEvent(new Event("link"));
  }
}
