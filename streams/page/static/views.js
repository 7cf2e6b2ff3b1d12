// What is drawn of each view's answer.

import { bars, interval, scale, share, sparkline, split } from "./charts.js";
import { card, facts, h, pill, prose, table } from "./dom.js";
import { clock, count, counted, shade, span, standing, value } from "./words.js";

const toVideo = (video, title) =>
  h("a", { href: `/video/${video}` }, title || video);
const named = (video, title) => [toVideo(video, title), title ? h("span", { class: "sub" }, video) : null];
const toSlice = (slice) => h("a", { href: `/slice/${slice}`, class: "nowrap" }, slice);
const notices = (lines, kind = "") => lines.map((line) => h("p", { class: `notice ${kind}` }, prose(line)));
const figure = (number, small) => h("p", { class: "figure" }, number, small ? h("small", {}, small) : null);
const block = (head, kind, ...children) => h("section", { class: `card ${kind}` }, h("h2", {}, head), children);

function unknown(answer) {
  return Object.entries(answer.unknown ?? {})
    .filter(([, why]) => why !== "not read yet")
    .map(([name, why]) => h("p", { class: "notice", "data-key": `unknown-${name}` }, `Not known, ${name}: ${why}`));
}

// ------------------------------------------------------------------ status

function status({ answer, at }) {
  return [
    ...unknown(answer),
    h(
      "div",
      { class: "cards" },
      (answer.lag ?? []).map((group) => groupCard(group)),
      answer.halts ? haltsCard(answer.halts) : null,
      answer.letters ? lettersCard(answer.letters) : null,
      answer.waiting ? waitingCard(answer.waiting, at) : null,
      answer.guarantee ? guaranteeCard(answer.guarantee) : null,
      answer.shares ? sharesCard(answer.shares) : null,
      answer.flow ? flowCard(answer.flow) : null,
      answer.policy ? policyCard(answer.policy) : null,
    ),
    answer.workers ? workersCard(answer.workers) : null,
  ];
}

function groupCard(group) {
  return block(
    `Lag of ${group.group}`,
    "",
    figure(span(group.max_lag_seconds), counted(group.lag, "record")),
    h("p", {}, pill(group.status, shade(group.status)), " ", counted(group.members, "member")),
    group.status === "HALTED" ? h("p", {}, h("a", { href: "/halts" }, "What to do")) : null,
  );
}

function haltsCard(halts) {
  return block(
    "Halted partitions",
    halts.length ? "bad" : "",
    figure(count(halts.length)),
    h("p", {}, halts.length ? h("a", { href: "/halts" }, "What to do") : "Nothing waits for an operator."),
  );
}

function lettersCard(letters) {
  const reasons = Object.entries(letters.reasons).map(([reason, number]) => `${reason} ${count(number)}`);
  return block(
    "Dead letters a minute",
    "",
    figure(letters.a_minute.toFixed(1), `over ${letters.minutes} min`),
    h("p", {}, reasons.length ? h("a", { href: "/letters" }, reasons.join(", ")) : "None of late."),
  );
}

function waitingCard(waiting, at) {
  const longest = waiting.longest;
  return block(
    "Waiting for review",
    "",
    figure(count(waiting.videos), waiting.videos === 1 ? "video" : "videos"),
    longest
      ? h("p", {}, "Longest ", toVideo(longest.video, longest.title), `, ${span((at - longest.since) / 1000)}: ${longest.why ?? "the gate did not decide"}`)
      : h("p", {}, "Nothing waits."),
  );
}

function guaranteeCard(guarantee) {
  const causes = Object.entries(guarantee.causes).map(([cause, number]) => `${cause} ${count(number)}`);
  return block(
    "First audience missed",
    "",
    figure(count(guarantee.missed), `${count(guarantee.kept)} kept, ${count(guarantee.running)} running`),
    h("p", {}, causes.length ? causes.join(", ") : "Every video got what it was owed, or still has time."),
  );
}

function sharesCard(shares) {
  const percent = (share) => (share === null ? "—" : `${(share / 10_000).toFixed(1)} %`);
  const line = (row) =>
    `${percent(row.window)}${row.bound === null ? "" : ` of ${percent(row.bound)}`}${row.short ? `, short: ${row.short}` : ""}`;
  return block(
    "Shares of the impressions",
    "",
    h("dl", { class: "facts" }, shares.promises.map((row) => h("div", {}, h("dt", {}, row.promise), h("dd", {}, line(row))))),
    h("p", { class: "muted" }, shares.age_ms === null ? `No mix: ${shares.why}` : `Mix ${span(shares.age_ms / 1000)} old, ${percent(shares.unsteered)} of the impressions went by no mix.`),
  );
}

function flowCard(flow) {
  const rows = Object.entries(flow);
  return block(
    "Records in the last minute",
    "",
    h("dl", { class: "facts" }, rows.map(([topic, number]) => h("div", {}, h("dt", {}, topic), h("dd", {}, count(number))))),
  );
}

function policyCard(rows) {
  return block(
    "Policy in force",
    "",
    rows.map((row) =>
      h("p", {}, h("strong", {}, row.version), h("span", { class: "muted" }, `${row.number === null ? "" : ` number ${row.number}`}, in ${count(row.partitions)} of ${count(row.of)} partitions`)),
    ),
  );
}

function workersCard(workers) {
  if (!workers.length) return h("p", { class: "notice" }, "No worker is in our groups: streams worker starts one.");
  const columns = [
    ["Worker", "", (row) => `${row.member}@${row.host}`],
    ["Group", "wide-only", (row) => row.group],
    ["Topic", "", (row) => row.topic || "–"],
    ["Partitions", "", (row) => row.partitions || "none"],
  ];
  return card("Workers and their partitions", table("Workers", columns, workers, (row) => `${row.group} ${row.member} ${row.host} ${row.topic}`));
}

// ------------------------------------------------------------------ lag

function lag({ answer, at }) {
  const columns = [
    ["Partition", "", (row) => [`${row.topic}[${row.partition}]`, h("span", { class: "sub" }, row.group)]],
    ["Status", "", (row) => pill(row.status, shade(row.status))],
    ["Records", "number wide-only", (row) => count(row.lag)],
    ["Behind", "number", (row) => span(row.lag_seconds)],
    ["Last hour", "trend", (row) => sparkline(row.points, at)],
    ["A second", "number wider", (row) => (row.change_per_second === null ? "–" : row.change_per_second.toFixed(1))],
    ["Done in", "number wider", (row) => span(row.catchup_seconds)],
    ["Owner", "wider", (row) => h("span", { class: "muted" }, row.owner ?? "nobody")],
  ];
  return [
    ...notices(answer.gaps),
    h("div", { class: "cards" }, answer.groups.map(groupCard)),
    answer.rows.length
      ? card("Partitions, the worst first", table("Lag by partition", columns, answer.rows, (row) => `${row.group} ${row.topic} ${row.partition}`))
      : h("p", { class: "notice" }, "No group of ours committed anything: does a worker run?"),
  ];
}

// ------------------------------------------------------------------ flow

function flow({ answer, at }) {
  const columns = [
    ["Video", "title", (row) => named(row.video, row.title)],
    ["Decision", "", (row) => pill(row.action, shade(row.action))],
    ["Crowd", "", (row) => (row.slice ? toSlice(row.slice) : crowds(row.crowds))],
    ["Score", "number wide-only", (row) => (row.slice ? value(row.score) : "")],
    ["Price", "number wide-only", (row) => (row.slice ? value(row.price) : "")],
    ["Why", "wider muted", (row) => row.why],
    ["At", "number wide-only", (row) => clock(row.ts, at)],
  ];
  const topics = Object.entries(answer.minutes);
  const actions = ["open", "widen", "keep", "stop", "review"].map((action) => [action, answer.actions[action] ?? 0]);
  return [
    h(
      "div",
      { class: "cards three" },
      topics.map(([topic, minutes]) => block(`${topic}, records a minute`, "", figure(count(minutes.at(-1))), bars(minutes, `${topic}, records a minute in ${minutes.length} minutes`))),
      decisionsCard(actions),
    ),
    answer.latest.length ? card("Latest decisions", table("Latest decisions", columns, answer.latest, (row) => row.id)) : null,
  ];
}

function decisionsCard(actions) {
  const whole = actions.reduce((sum, [, number]) => sum + number, 0);
  const words = actions.map(([action, number]) => `${action} ${count(number)}`).join(", ");
  return block(
    "Decisions in half an hour",
    "",
    figure(count(whole)),
    split(actions.map(([action, number]) => [shade(action), number]), words),
    h("p", { class: "pills" }, actions.map(([action, number]) => pill(`${action} ${count(number)}`, shade(action)))),
  );
}

// ------------------------------------------------------------------ video

function video({ answer, at }) {
  const counted = answer.counted;
  const bounds = answer.crowds.length ? scale(answer.crowds) : null;
  const columns = [
    ["Crowd", "", (row) => [toSlice(row.slice), h("span", { class: "sub phone-only" }, row.action)]],
    ["Last", "wide-only", (row) => pill(row.action, shade(row.action))],
    ["Worth a view and price", "plot", (row) => interval(row, bounds, ...standing(row))],
    ["Mean", "number wide-only", (row) => value(row.mean)],
    ["Price", "number wide-only", (row) => value(row.price)],
    ["Views", "number wide-only", (row) => count(row.views)],
    ["Shown", "number wide-only", (row) => `${count(row.impressions)} / ${count(row.allowance)}`],
  ];
  return [
    facts([
      ["Id", answer.video],
      ["Control plane", answer.state],
      ["Stage", counted.stage],
      ["Creator", counted.creator],
      ["Partition", counted.partition],
      ["Policy", counted.policy],
    ]),
    answer.crowds.length
      ? card("What each crowd thinks of it", table("Crowds", columns, answer.crowds, (row) => row.slice), legend())
      : h("p", { class: "notice" }, answer.whole ? "No crowd is open to it and none judged it." : "What crowds judged is being read."),
    answer.timeline.length
      ? card("Its life", h("ol", { class: "timeline", reversed: true }, answer.timeline.map((receipt) => moment(receipt, at))))
      : h("p", { class: "muted" }, answer.whole ? "No decision about it is in the topic." : "Its decisions are being read."),
  ];
}

function crowds(number) {
  return number ? `${count(number)} crowd${number === 1 ? "" : "s"}` : "";
}

function legend() {
  const sign = (...drawn) => h("svg", { width: 26, height: 14, "aria-hidden": true }, drawn);
  const spanning = (kind) => sign(h("rect", { class: `span ${kind}`, x: 1, y: 3, width: 24, height: 8, rx: 4 }));
  return h(
    "ul",
    { class: "legend" },
    h("li", {}, sign(h("rect", { class: "span", x: 1, y: 3, width: 24, height: 8, rx: 4 }), h("circle", { class: "dot", cx: 13, cy: 7, r: 4 })), "mean, and where 95 of 100 worths lie"),
    h("li", {}, sign(h("line", { class: "price", x1: 13, x2: 13, y1: 1, y2: 13 })), "price"),
    h("li", {}, spanning("good"), "above the price"),
    h("li", {}, spanning("warn"), "around the price"),
    h("li", {}, spanning("bad"), "below the price"),
  );
}

function moment(receipt, at) {
  return h(
    "li",
    { class: shade(receipt.action), "data-key": String(receipt.n) },
    h("div", { class: "head" }, h("time", { datetime: new Date(receipt.ts).toISOString() }, clock(receipt.ts, at)), receipt.head),
    receipt.lines.length ? h("details", {}, h("summary", {}, "with every number"), receipt.lines.map((line) => h("p", {}, line))) : null,
  );
}

// ------------------------------------------------------------------ slices

function slices({ answer }) {
  const columns = [
    ["Slice", "", (row) => toSlice(row.slice)],
    ["Price", "number", (row) => value(row.price)],
    ["Expected", "number", (row) => value(row.prior_mean)],
    ["Horizon", "number", (row) => count(row.horizon)],
    ["Reach", "number", (row) => count(row.reach)],
  ];
  return [card(`Policy ${answer.policy}`, table("Slices", columns, answer.slices, (row) => row.slice))];
}

function slice({ answer }) {
  const most = Math.max(1, ...answer.candidates.map((one) => one.score));
  const columns = [
    ["Video", "title", (row) => named(row.video, row.title)],
    ["Score", "number", (row) => value(row.score)],
    ["Score and price", "plot", (row) => share(row.score, most, `score ${value(row.score)}, price ${value(row.price)}`, { bound: row.price })],
    ["Price", "number wide-only", (row) => value(row.price)],
    ["Over it", "number wide-only", (row) => value(row.net)],
    ["Left", "number wide-only", (row) => `${count(row.left)} / ${count(row.allowance)}`],
    ["Class", "wide-only", (row) => `band ${parseInt(row.class, 10)}${row.class.endsWith("c") ? ", commercial" : ""}`],
  ];
  const asked = answer.slots.reduce((sum, one) => sum + one.asked, 0);
  const filled = answer.slots.reduce((sum, one) => sum + one.rank + one.fresh, 0);
  return [
    facts([
      ["Price", value(answer.price)],
      ["Expected before any view", value(answer.prior_mean)],
      ["Horizon", `${count(answer.horizon)} impressions`],
      ["Reach", count(answer.reach)],
      ["Policy", answer.policy],
      ["Slots in half an hour", `${count(filled)} of ${count(asked)} filled`],
    ]),
    card("What the keeper learned last", learned(answer.learned)),
    answer.candidates.length
      ? card("Who is shown next", table("Candidates by score over price", columns, answer.candidates, (row) => row.video))
      : h("p", { class: "notice" }, "Nothing may be shown here now."),
  ];
}

function learned(last) {
  if (last === null) return h("p", {}, "It has moved nothing here yet.");
  return facts([
    ["Moved", last.moved],
    ["On", last.evidence],
    ["Because", last.why],
    ["By policy", `${last.number}, ${last.written.slice(0, 16).replace("T", " ")} UTC`],
  ]);
}

// ------------------------------------------------------------------ letters and halts

function letters({ answer }) {
  const reasons = new Map();
  for (const row of answer.stats) reasons.set(row.reason, (reasons.get(row.reason) ?? 0) + row.refusals);
  const sums = [...reasons].map(([reason, refusals]) => ({ reason, refusals })).sort((a, b) => b.refusals - a.refusals);
  const most = sums[0]?.refusals ?? 1;
  const byReason = [
    ["Reason", "", (row) => row.reason],
    ["Refused", "number", (row) => count(row.refusals)],
    ["Share", "plot", (row) => share(row.refusals, most, `${count(row.refusals)} of ${count(most)}`, { kind: "bad" })],
  ];
  const byProducer = [
    ["Producer", "title", (row) => row.producer],
    ["Topic", "", (row) => row.topic],
    ["Reason", "", (row) => pill(row.reason, "bad")],
    ["Refused", "number", (row) => count(row.refusals)],
    ["Newest", "number wide-only", (row) => row.newest.slice(0, 19).replace("T", " ")],
  ];
  const latest = [
    ["Letter", "nowrap", (row) => row.letter],
    ["Reason", "", (row) => row.reason],
    ["Producer", "wide-only", (row) => row.producer],
    ["What was wrong", "title", (row) => row.message],
    ["Written", "number wider", (row) => row.written.slice(0, 19).replace("T", " ")],
  ];
  if (!sums.length) return [h("p", { class: "notice good" }, "No open letter was written in a day.")];
  return [
    card("By reason", table("Refusals by reason", byReason, sums, (row) => row.reason)),
    card("By producer", table("Refusals by producer", byProducer, answer.stats, (row) => `${row.topic} ${row.reason} ${row.producer} ${row.state}`)),
    card("The newest", table("Newest letters", latest, answer.latest, (row) => row.letter)),
  ];
}

function halts({ answer, at }) {
  return [
    ...notices(answer.gaps),
    answer.halts.length
      ? answer.halts.map((halt) =>
          h(
            "section",
            { class: "card main bad", "data-key": String(halt.partition) },
            h("h2", {}, `Partition ${halt.partition}: ${halt.code}`),
            h("p", {}, prose(halt.what)),
            h("p", { class: "muted" }, `halted ${span((at - halt.since) / 1000)} ago, at ${clock(halt.since, at)} UTC`),
          ),
        )
      : h("p", { class: "notice good" }, "No partition is halted."),
    answer.skips.map((skip) =>
      h(
        "section",
        { class: "card main", "data-key": `${skip.partition}.${skip.offset}` },
        h("h2", {}, `Partition ${skip.partition}: offsets ${skip.offset} to ${skip.following - 1} are skipped`),
        h("p", {}, skip.why),
        h("p", { class: "muted" }, `nobody could read them; decided by ${skip.by}, at ${clock(skip.at, at)} UTC`),
      ),
    ),
  ].flat();
}

/** Heading, a sentence, and what draws each view. */
export const VIEWS = {
  status: ["Status", "How everything stands now.", status],
  lag: ["Lag", "How far our consumer groups are behind, in records and in the age of the first unread one.", lag],
  flow: ["Flow", "What comes in, and what is decided of it.", flow],
  video: ["Video", "What each crowd made of it, against what its place is worth to others, and every decision about it.", video],
  slices: ["Slices", "Where a video can be shown: a surface and a crowd, each with its price.", slices],
  slice: ["Slice", "The best candidates, as a feed server would be given them.", slice],
  letters: ["Dead letters", "What could not be used in the last day, and why.", letters],
  halts: ["Halts", "Partitions that wait for an operator, rather than guess.", halts],
};
