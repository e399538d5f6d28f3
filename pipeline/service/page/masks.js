// The worker that makes pixels of masks, asked like a function.

export class Masks {
  constructor() {
    this._worker = new Worker(new URL("./masks.worker.js", import.meta.url), { type: "module" });
    this._waiting = new Map();
    this._number = 0;
    this._worker.onmessage = ({ data: { number, shapes } }) => this._settle(number, shapes);
    this._worker.onerror = (event) => {
      console.error("masks cannot be decoded", event.message);
      for (const number of [...this._waiting.keys()]) this._settle(number, []);
    };
  }

  /** For each instance `{x, y, width, height, bits, picture}` in pixels of the source. */
  of(instances) {
    this._number += 1;
    const answer = new Promise((settle) => this._waiting.set(this._number, settle));
    this._worker.postMessage({ number: this._number, instances });
    return answer;
  }

  close() {
    this._worker.terminate();
  }

  _settle(number, shapes) {
    this._waiting.get(number)?.(shapes);
    this._waiting.delete(number);
  }
}
