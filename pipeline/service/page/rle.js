// COCO's compressed run-length encoding, as records hold masks.

/** Lengths of the runs, column by column, beginning with one of pixels outside. */
export function runs(text) {
  const lengths = [];
  let place = 0;
  while (place < text.length) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(place) - 48;
      place += 1;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10 && shift < 32) value |= -1 << shift; // negative
    lengths.push(lengths.length > 2 ? value + lengths.at(-2) : value);
  }
  return lengths;
}

/**
 * The mask inside its own bounds: `{x, y, width, height, bits}`, bits row by row, 1 inside.
 * An empty mask has width and height 0.
 */
export function decode({ size: [height], counts }) {
  const strips = []; // [column, first row, rows]
  let at = 0;
  let [left, top, right, bottom] = [Infinity, Infinity, 0, 0];
  runs(counts).forEach((length, number) => {
    if (number % 2 === 1) {
      for (let end = at + length, begin = at; begin < end; ) {
        const column = Math.floor(begin / height);
        const row = begin - column * height;
        const rows = Math.min(height - row, end - begin);
        strips.push([column, row, rows]);
        left = Math.min(left, column);
        right = Math.max(right, column + 1);
        top = Math.min(top, row);
        bottom = Math.max(bottom, row + rows);
        begin += rows;
      }
    }
    at += length;
  });
  if (!strips.length) return { x: 0, y: 0, width: 0, height: 0, bits: new Uint8Array(0) };
  const width = right - left;
  const bits = new Uint8Array(width * (bottom - top));
  for (const [column, row, rows] of strips) {
    for (let place = (row - top) * width + column - left, left_ = rows; left_ > 0; left_ -= 1) {
      bits[place] = 1;
      place += width;
    }
  }
  return { x: left, y: top, width, height: bottom - top, bits };
}
