// Shows one view: takes its answers as they come, and says when none come any more.

import { h, patch, prose } from "./dom.js";
import { VIEWS } from "./views.js";
import { clock } from "./words.js";

const [, first, of] = location.pathname.split("/");
const name = first || "status";
const [heading, lead, draw] = VIEWS[name];
const main = document.getElementById("main");
const connection = document.getElementById("connection");
const SILENCE_MS = 20000;

let latest = null;
let silence = 0;

for (const link of document.querySelectorAll("nav a")) {
  const to = link.pathname.slice(1) || "status";
  if (to === name || to === `${name}s`) link.setAttribute("aria-current", "page");
}

function show(told) {
  const title = told.answer?.title || of || heading;
  const shownAs = of ? `${heading} ${title}` : heading;
  document.title = `${shownAs} – streams`;
  const why = told.why ? [h("p", { class: "notice", "data-key": "why" }, prose(told.why))] : [];
  const body = told.answer ? draw(told) : told.why ? [] : [h("p", { class: "loading" }, "Reading…")];
  const drawn = [h("h1", {}, of ? title : heading), h("p", { class: "lead" }, lead), ...why, ...body];
  patch(main, drawn.flat().filter((one) => one !== null));
  const commands = told.commands.map((command, place) => [place ? ", " : null, h("code", {}, command)]);
  patch(document.getElementById("commands"), [document.createTextNode("In a terminal: "), ...commands.flat().filter(Boolean).map((one) => (typeof one === "string" ? document.createTextNode(one) : one))]);
}

function say(text, at, away) {
  const [words, time] = connection.children;
  if (words.textContent !== text) words.textContent = text; // read aloud, so only when it changes
  time.textContent = at ? `${clock(at, at)} UTC` : "";
  connection.className = away ? "away" : "";
}

function lost() {
  say(latest ? "no answer; this is of" : "no answer", latest?.at, true);
}

const events = new EventSource(`/events/${name}${of ? `/${of}` : ""}`);
events.onmessage = (event) => {
  latest = JSON.parse(event.data);
  show(latest);
  say("live", latest.at, false);
  clearTimeout(silence);
  silence = setTimeout(lost, SILENCE_MS);
};
events.onerror = lost;
