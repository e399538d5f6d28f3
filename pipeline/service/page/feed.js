// What the service tells of itself: an overview every second, and what happens.

import { hasSockets } from "./live.js";

const SILENT_MS = 3500; // an overview comes every second
const AGAIN_MS = 1000;
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
    this._close?.();
    this._closed = false;
    this._openedAt = performance.now();
    this._close = hasSockets() ? this._bySocket() : this._bySource();
  }

  /** A browser has six other connections to a server for all its windows; sockets do not count. */
  _bySocket() {
    const address = new URL("v1/events", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    if (this._last) address.searchParams.set("after", this._last);
    const socket = new WebSocket(address);
    socket.onmessage = (message) => {
      const { event, id, data } = JSON.parse(message.data);
      this._take(event, id, data);
    };
    socket.onclose = () => { this._closed = true; };
    return () => {
      socket.onclose = null;
      socket.close();
    };
  }

  _bySource() {
    const source = new EventSource("v1/events");
    for (const kind of ["overview", "change"]) {
      source.addEventListener(kind, ({ lastEventId, data }) => this._take(kind, lastEventId, JSON.parse(data)));
    }
    source.onerror = () => { this._closed = source.readyState === EventSource.CLOSED; };
    return () => source.close();
  }

  _take(kind, id, data) {
    if (kind === "overview") {
      this.overview = data;
      this._heard();
    } else if (this.changes.some((change) => change.id === id)) {
      return;
    } else {
      this._last = id;
      this.changes.unshift({ id, ...data });
      this.changes.length = Math.min(this.changes.length, KEPT);
    }
    this.dispatchEvent(new Event(kind));
  }

  _heard() {
    this._heardAt = performance.now();
    this._link(true);
  }

  _listen() {
    const now = performance.now();
    if (now - this._heardAt > SILENT_MS) this._link(false);
    // What is closed is opened again; and a half-open connection tells nothing.
    const silent = now - Math.max(this._heardAt, this._openedAt);
    if (silent > (this._closed ? AGAIN_MS : 3 * SILENT_MS)) this._open();
  }

  _link(linked) {
    if (this.linked === linked) return;
    this.linked = linked;
    this.dispatchEvent(new Event("link"));
  }
}
