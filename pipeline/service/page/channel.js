// Events the service sends: by WebSocket, or server-sent where there is none.

import { hasSockets } from "./live.js";

/**
 * Calls `take(kind, id, data)` with every event of `path` until it is closed. `closed` says that the
 * other side has gone; `open` comes back then, and asks for what it missed.
 */
export class Channel {
  constructor(path, kinds, take) {
    this._path = path;
    this._kinds = kinds;
    this._take = (kind, id, data) => {
      if (id) this._last = id;
      take(kind, id, data);
    };
    this.open();
  }

  open() {
    this.close();
    this.closed = false;
    this.openedAt = performance.now();
    this._end = hasSockets() ? this._bySocket() : this._bySource();
  }

  close() {
    this._end?.();
    this._end = null;
  }

  /** A browser has six other connections to a server for all its windows; sockets do not count. */
  _bySocket() {
    const address = new URL(this._path, document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    if (this._last) address.searchParams.set("after", this._last);
    const socket = new WebSocket(address);
    socket.onmessage = (message) => {
      const { event, id, data } = JSON.parse(message.data);
      this._take(event, id, data);
    };
    socket.onclose = () => { this.closed = true; };
    return () => {
      socket.onclose = socket.onmessage = null;
      if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
      else socket.close();
    };
  }

  _bySource() {
    const source = new EventSource(this._path);
    for (const kind of this._kinds) {
      source.addEventListener(kind, ({ lastEventId, data }) => this._take(kind, lastEventId, JSON.parse(data)));
    }
    source.onerror = () => { this.closed = source.readyState === EventSource.CLOSED; };
    return () => source.close();
  }
}
