// What states mean to who watches, and how figures are written.

const TONES = {
  streaming: "good", ready: "good", ended: "idle", paused: "idle", suspended: "idle",
  queued: "wait", starting: "wait", connecting: "wait", draining: "wait",
  stalled: "bad", reconnecting: "bad", failed: "bad", lost: "bad",
};

const SAID = {
  stalled: "no pictures from the camera",
  reconnecting: "connection to the camera lost",
  connecting: "connecting to the camera",
  failed: "failed",
};

/** good, wait, idle or bad. */
export const tone = (state) => TONES[state] ?? "wait";

/** The same of a stream, which may be waiting for a reason. */
export const toneOf = ({ state, trouble: reason }) => (reason ? "bad" : tone(state));

/** A state in words, and why it is so; null where nothing needs to be said. */
export const trouble = ({ state, trouble: reason }) => [SAID[state], reason].filter(Boolean).join(": ") || null;

/** What holds a run up, the figure that shows it, and what to do. */
export const heldUp = ({ kind, source, figure: shown, next_step: next }) =>
  `Held up by ${kind}${source ? `, ${source}` : ""}: ${shown}; ${next}`;

/** 12.34 → "12.3", 1234 → "1 234". */
export function figure(value, digits = 1) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const shown = value.toFixed(Math.abs(value) >= 100 ? 0 : digits);
  return shown.replace(/\B(?=(\d{3})+(?!\d))/g, shown.includes(".") ? "" : "\u202f");
}

export const count = (value) => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Of unix seconds, in the time zone of who looks. */
export const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

const CHOSEN = new Set(["stride", "max_fps", "paused", "stopped"]);

/** Of counts by cause those that nobody asked for. */
export const unasked = (counts) =>
  Object.fromEntries(Object.entries(counts ?? {}).filter(([cause]) => !CHOSEN.has(cause)));

export const total = (counts) => Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0);
