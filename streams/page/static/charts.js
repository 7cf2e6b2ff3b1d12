// Pictures of numbers. Each says in words what it shows, for those who do not see it.

import { h } from "./dom.js";
import { count, value } from "./words.js";

const HOUR = 3600000;

/** Draws the lag of an hour up to `now`; `points` are pairs of time and records. */
export function sparkline(points, now, width = 180, height = 30) {
  const within = points.filter(([at]) => at >= now - HOUR);
  const most = Math.max(1, ...within.map(([, lag]) => lag));
  const x = (at) => ((at - now + HOUR) / HOUR) * width;
  const y = (lag) => height - 1 - (lag / most) * (height - 3);
  const words = within.length
    ? `Lag of the last hour: at most ${count(most)}, now ${count(within.at(-1)[1])} records`
    : "No lag was seen yet";
  const steps = within.map(([at, lag]) => `${x(at).toFixed(1)},${y(lag).toFixed(1)}`);
  if (within.length === 1) steps.unshift(`${(x(within[0][0]) - 2).toFixed(1)},${y(within[0][1]).toFixed(1)}`);
  const line = `M${steps.join("L")}`;
  const first = steps[0]?.split(",")[0];
  const last = steps.at(-1)?.split(",")[0];
  return h(
    "svg",
    { class: "spark", role: "img", "aria-label": words, height, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" },
    h("rect", { class: "track", x: 0, y: height - 1, width, height: 1 }),
    steps.length ? h("path", { class: "area", d: `${line}L${last},${height}L${first},${height}Z` }) : null,
    steps.length ? h("path", { class: "line", d: line }) : null,
  );
}

/** Draws numbers as bars, the newest last. */
export function bars(numbers, what, width = 240, height = 44) {
  const most = Math.max(1, ...numbers);
  const step = width / Math.max(numbers.length, 1);
  const drawn = numbers.map((number, place) => {
    const tall = number ? Math.max((number / most) * height, 1.5) : 0;
    return h("rect", {
      class: place === numbers.length - 1 ? "last" : null,
      x: (place * step).toFixed(2),
      y: (height - tall).toFixed(2),
      width: Math.max(step - 1.5, 0.5).toFixed(2),
      height: tall.toFixed(2),
      rx: 1,
    });
  });
  const words = `${what}: at most ${count(most)}, last ${count(numbers.at(-1) ?? 0)}`;
  return h(
    "svg",
    { class: "bars", role: "img", "aria-label": words, width: "100%", height, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" },
    h("rect", { class: "track", x: 0, y: height - 0.5, width, height: 0.5 }),
    drawn,
  );
}

/** Returns the bounds of what intervals and prices lie between, with some room. */
export function scale(rows) {
  const all = rows.flatMap((row) => [row.low, row.high, row.price]);
  const low = Math.min(...all);
  const high = Math.max(...all);
  const room = Math.max((high - low) * 0.04, 1);
  return { low: low - room, high: high + room };
}

/** Draws between which bounds a worth lies, its mean, and the price. */
export function interval(row, bounds, kind, words, width = 320, height = 22) {
  const x = (micros) => (((micros - bounds.low) / (bounds.high - bounds.low)) * 100).toFixed(2);
  const told = `${value(row.mean)}, between ${value(row.low)} and ${value(row.high)}; price ${value(row.price)}: ${words}`;
  const middle = height / 2;
  return h(
    "svg",
    { role: "img", "aria-label": told, width: "100%", height },
    h("rect", { class: "track", x: 0, y: middle - 0.5, width: "100%", height: 1 }),
    h("rect", { class: `span ${kind}`, x: `${x(row.low)}%`, y: middle - 5, width: `${(x(row.high) - x(row.low)).toFixed(2)}%`, height: 10, rx: 5 }),
    h("line", { class: "price", x1: `${x(row.price)}%`, x2: `${x(row.price)}%`, y1: 1, y2: height - 1 }),
    h("circle", { class: "dot", cx: `${x(row.mean)}%`, cy: middle, r: 4.5 }),
  );
}

/** Draws a share of the most, and beside it a bound if there is one. */
export function share(number, most, words, { kind = "", bound = null, height = 8 } = {}) {
  const part = (of) => `${(most > 0 ? Math.min(Math.max(of / most, 0), 1) * 100 : 0).toFixed(1)}%`;
  const tall = height + 8;
  return h(
    "svg",
    { role: "img", "aria-label": words, width: "100%", height: tall },
    h("rect", { class: "track", x: 0, y: 4, width: "100%", height, rx: height / 2 }),
    h("rect", { class: `fill ${kind}`, x: 0, y: 4, width: part(number), height, rx: height / 2 }),
    bound === null ? null : h("line", { class: "price", x1: part(bound), x2: part(bound), y1: 0, y2: tall }),
  );
}

/** Draws how a whole is shared out; `parts` are pairs of a class and a number. */
export function split(parts, words, height = 10) {
  const whole = parts.reduce((sum, [, number]) => sum + number, 0) || 1;
  let before = 0;
  const drawn = parts.map(([kind, number]) => {
    const x = (before / whole) * 100;
    before += number;
    return h("rect", { class: `part ${kind}`, x: `${x.toFixed(2)}%`, y: 0, width: `${((number / whole) * 100).toFixed(2)}%`, height });
  });
  return h("svg", { class: "split", role: "img", "aria-label": words, width: "100%", height }, drawn);
}
