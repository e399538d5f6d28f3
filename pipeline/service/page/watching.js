// Three ways to the picture of a tile. A server has so many connections for all who look, and a
// browser six to one server besides sockets: the first tiles have pictures as they come, the others
// stills.

import { h } from "./dom.js";
import { Live, address, hasSockets } from "./live.js";

const AT_MOST = { socket: 24, mjpeg: 3 };
const STILL_MS = 1000;

const open = { socket: 0, mjpeg: 0 };

/** Show a stream in an element until `close` is called; `shown` is called with each record. */
export class Watching {
  constructor(id, look, place, shown) {
    this._id = id;
    this._look = look;
    this._place = place;
    this._shown = shown;
    this._begin();
  }

  close() {
    this._end();
    this._place.replaceChildren();
  }

  _begin() {
    this._way = hasSockets() ? "socket" : "mjpeg";
    if (open[this._way] >= AT_MOST[this._way]) this._way = "still";
    else open[this._way] += 1;
    this._end = this[`_${this._way}`]();
  }

  _socket() {
    const canvas = h("canvas", { width: 16, height: 9 });
    this._place.replaceChildren(canvas);
    const live = new Live(this._id, this._look, async ({ record, jpeg }) => {
      const bitmap = await createImageBitmap(jpeg);
      if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
      if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
      this._shown(record);
    });
    return () => {
      open.socket -= 1;
      live.close();
    };
  }

  _mjpeg() {
    const image = this._image();
    image.src = address(this._id, "live.mjpg", this._look);
    return () => {
      open.mjpeg -= 1;
      image.src = "";
    };
  }

  _still() {
    const image = this._image();
    const next = () => {
      if (hasSockets() && open.socket < AT_MOST.socket) {
        this._end();
        this._begin();
      } else if (image.complete) image.src = `${address(this._id, "snapshot.jpg", this._look)}&at=${Date.now()}`;
    };
    const timer = setInterval(next, STILL_MS);
    image.src = address(this._id, "snapshot.jpg", this._look);
    return () => clearInterval(timer);
  }

  _image() {
    const image = h("img", { alt: "" });
    image.addEventListener("load", () => { image.dataset.loaded = "yes"; });
    this._place.replaceChildren(image);
    return image;
  }
}
