// The colours in which the service draws tracks, the same numbers as its own: OKLCH, hues by the
// golden ratio, chroma lowered until sRGB can show it.

const GOLDEN = (Math.sqrt(5) - 1) / 2;
const CHROMA = 0.17;
const LIGHTNESSES = [0.72, 0.64, 0.8];
const known = new Map();

/** [red, green, blue], 0 to 255, of a track or class. */
export function colour(number) {
  if (!known.has(number)) {
    const hue = 2 * Math.PI * ((0.08 + number * GOLDEN) % 1);
    known.set(number, oklch(LIGHTNESSES[number % LIGHTNESSES.length], CHROMA, hue));
  }
  return known.get(number);
}

/** Of an instance: its track's, its class's where nobody follows it. */
export const colourOf = (instance) => colour(instance.track ?? instance.class_id);

export const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;

/** Black or white, whichever stands out more. */
export function ink(rgb) {
  const [red, green, blue] = rgb.map((value) => linear(value / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#101010" : "#ffffff";
}

function oklch(lightness, chroma, hue) {
  for (;;) {
    const a = chroma * Math.cos(hue);
    const b = chroma * Math.sin(hue);
    const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    const rgb = [
      4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
      -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
      -0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short,
    ];
    if (chroma <= 0 || rgb.every((value) => value >= -1e-4 && value <= 1 + 1e-4)) {
      return rgb.map((value) => Math.round(255 * encoded(Math.min(Math.max(value, 0), 1))));
    }
    chroma = Math.max(chroma - 0.005, 0);
  }
}

const encoded = (linear) => (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055);
const linear = (encoded) => (encoded <= 0.04045 ? encoded / 12.92 : ((encoded + 0.055) / 1.055) ** 2.4);
