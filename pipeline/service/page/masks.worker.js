// Masks become pixels here, away from the page: bits to ask whose a pixel is, a picture to draw.

import { colourOf } from "./palette.js";
import { decode } from "./rle.js";

const INSIDE = 100;
const CARRIED = 60; // the tracker carried it into a frame that was not segmented
const EDGE = 255;

self.onmessage = async ({ data: { number, instances } }) => {
  const shapes = await Promise.all(instances.map(shape));
  const moved = shapes.flatMap(({ bits, picture }) => (picture ? [bits.buffer, picture] : []));
  self.postMessage({ number, shapes }, moved);
};

async function shape(instance) {
  const mask = decode(instance.mask);
  if (!mask.width) return { ...mask, picture: null };
  const image = new ImageData(mask.width, mask.height);
  paint(image.data, mask, colourOf(instance), instance.predicted ? CARRIED : INSIDE);
  return { ...mask, picture: await createImageBitmap(image) };
}

function paint(pixels, { width, height, bits }, [red, green, blue], inside) {
  for (let y = 0, place = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, place += 1) {
      if (!bits[place]) continue;
      const within =
        x > 0 && y > 0 && x + 1 < width && y + 1 < height &&
        bits[place - 1] && bits[place + 1] && bits[place - width] && bits[place + width];
      pixels[4 * place] = red;
      pixels[4 * place + 1] = green;
      pixels[4 * place + 2] = blue;
      pixels[4 * place + 3] = within ? inside : EDGE;
    }
  }
}
