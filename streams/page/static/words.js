// Numbers and times for people. Times are UTC, as in the terminal.

export const count = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en-US"));
export const value = (micros) => (micros === null || micros === undefined ? "–" : (micros / 1e6).toFixed(3));

/** Returns how many of something there are. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Returns a span of seconds. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const iso = (ms) => new Date(ms).toISOString();

/** Returns a time of day, with its date where that is another than that of `now`. */
export function clock(ms, now) {
  if (ms === null || ms === undefined) return "–";
  const text = iso(ms);
  return text.slice(0, 10) === iso(now).slice(0, 10) ? text.slice(11, 19) : text.slice(0, 16).replace("T", " ");
}

const ACTIONS = { open: "calm", widen: "good", keep: "warn", stop: "bad" };
const STATUSES = { OK: "good", WARN: "warn", UNKNOWN: "" };

/** Returns the colour of a decision, or of how a group does. */
export const shade = (word) => ACTIONS[word] ?? STATUSES[word] ?? "bad";

/** Returns how a worth lies to its price. */
export function standing(row) {
  if (row.low >= row.price) return ["good", "above the price"];
  if (row.high < row.price) return ["bad", "below the price"];
  return ["warn", "around the price"];
}
