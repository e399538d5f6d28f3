// Pictures of one stream while they come: by WebSocket, or as MJPEG where there is none.

const AGAIN_MS = [300, 1000, 2000, 5000];
const UNKNOWN = 4404;

/** Whether this browser can be sent records with the pictures. */
export const hasSockets = () => typeof window.WebSocket === "function";

/** The address of a stream's pictures, relative to the page. */
export function address(id, kind, { annotated, width, fps }) {
  const query = new URLSearchParams({ annotated, fps });
  if (width) query.set("width", Math.min(Math.max(Math.ceil(width), 16), 8192));
  return `v1/streams/${encodeURIComponent(id)}/${kind}?${query}`;
}

/** A message of the service taken apart. */
export function parse(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const record = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { record, jpeg: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}

/**
 * Calls `show({record, jpeg})` with the newest picture, and waits for it before it takes the next:
 * a page that is slow, hidden or paused gets fewer. Connects again for ever until it is closed.
 */
export class Live {
  constructor(id, look, show) {
    this._url = new URL(address(id, "live", look), document.baseURI);
    this._url.protocol = this._url.protocol === "https:" ? "wss:" : "ws:";
    this._show = show;
    this._tries = 0;
    this._open();
  }

  close() {
    this._closed = true;
    clearTimeout(this._timer);
    const socket = this._socket;
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  }

  _open() {
    const socket = new WebSocket(this._url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = async ({ data }) => {
      this._tries = 0;
      try {
        if (!this._closed) await this._show(parse(data));
      } catch (error) {
        if (!this._closed) console.error("a picture could not be shown", error);
      }
      if (socket.readyState === WebSocket.OPEN) socket.send("got it");
    };
    socket.onclose = ({ code }) => {
      if (this._closed) return;
      const wait = code === UNKNOWN ? AGAIN_MS.at(-1) : AGAIN_MS[Math.min(this._tries, 3)];
      this._tries += 1;
      this._timer = setTimeout(() => this._open(), wait);
    };
    this._socket = socket;
  }
}
