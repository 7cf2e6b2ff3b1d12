// Elements from data, and what is on the screen made like them: text is never taken for markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "rect", "circle", "line", "g"]);

/** Returns an element; children are elements or texts, what is null is left out. */
export function h(tag, attributes = {}, ...children) {
  const made = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return made;
}

/** Makes the children of an element like those wanted; what has the same `data-key` is kept. */
export function patch(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) {
    if (child.dataset.key) keyed.set(child.dataset.key, child);
  }
  let next = parent.firstChild;
  for (const node of wanted) {
    const old = likely(node, next, keyed);
    if (old === null) {
      parent.insertBefore(node, next);
      continue;
    }
    if (old !== next) parent.insertBefore(old, next);
    update(old, node);
    next = old.nextSibling;
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

function likely(node, next, keyed) {
  const key = node.dataset?.key;
  const old = key ? keyed.get(key) : next;
  const free = old && (key || !old.dataset?.key) && old.nodeName === node.nodeName;
  if (free && key) keyed.delete(key); // two may bear one key: each is kept for one
  return free ? old : null;
}

function update(old, node) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    const opened = name === "open"; // by whoever reads
    if (!opened && !node.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  patch(old, [...node.childNodes]);
}

/**
 * Returns a table that a phone scrolls. `columns`: head, class and what makes a cell of a row; the
 * first column names the row.
 */
export function table(caption, columns, rows, keyOf) {
  const heads = columns.map(([head, kind]) => h("th", { scope: "col", class: kind || null }, head));
  const body = rows.map((row) => {
    const cells = columns.map(([, kind, cell], place) => {
      const holds = [cell(row)];
      return place === 0
        ? h("th", { scope: "row", class: kind || null }, holds)
        : h("td", { class: kind || null }, holds);
    });
    return h("tr", { "data-key": keyOf(row) }, cells);
  });
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body)),
  );
}

/** Returns a text, what stands between backquotes as code. */
export const prose = (text) => text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));
export const card = (head, ...children) => h("section", { class: "card main" }, h("h2", {}, head), children);
export const pill = (text, kind) => h("span", { class: `pill ${kind || ""}` }, text);
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
