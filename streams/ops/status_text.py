"""The one screen in words: a line or some for each section."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from streams.ops.dead_letters import printable
from streams.ops.explain import count_of, moment
from streams.ops.shares_text import percent, promise_line

Words = Iterable[str]


def as_lines(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return sections and their lines, the section's name before the first line of each."""
    lines: list[tuple[str, str]] = []
    for name, words in WORDS.items():
        told = [] if name not in status else list(words(status[name]))
        if (why := status["unknown"].get(name)) is not None:
            told.append(why if name == "lag" else f"not known: {why}")
        lines += [(name if place == 0 else "", text) for place, text in enumerate(told)]
    return lines


def _lag(rows: Any) -> Words:
    for row in rows:
        seconds = row["max_lag_seconds"]
        age = "" if seconds is None else f", {seconds:.1f} s"
        slowest = f", most in {row['slowest']}" if row["slowest"] else ""
        yield f"{row['status']} {row['group']}: {row['lag']:,} records behind{age}{slowest}"
    if not rows:
        yield "no group of ours committed anything: does a worker run?"


def _workers(rows: Any) -> Words:
    for row in rows:
        has = f"{row['topic']} {row['partitions']}" if row["topic"] else "nothing"
        yield f"{row['member']}@{row['host']}: {has}"
    if not rows:
        yield "none is in our groups"


def _halts(rows: Any) -> Words:
    for row in rows:
        yield f"partition {row['partition']}, {row['code']}, {moment(row['since'])}: {row['what']}"
    if not rows:
        yield "none"


def _skips(rows: Any) -> Words:
    for row in rows:
        last, who = row["following"] - 1, printable(row["by"].encode())
        why = printable(row["why"].encode())
        place = f"partition {row['partition']}, offsets {row['offset']} to {last}"
        yield f"{place}, by {who} at {moment(row['at'])}: {why}"
    if not rows:
        yield "none"


def _flow(topics: Any) -> Words:
    counts = ", ".join(f"{topic} {count:,}" for topic, count in topics.items())
    yield f"records in the last minute: {counts or 'none of our topics is there'}"


def _letters(letters: Any) -> Words:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in letters["reasons"].items())
    yield f"{letters['a_minute']:.1f} a minute in {letters['minutes']} minutes" + (
        f": {reasons}" if reasons else ""
    )


def _policy(rows: Any) -> Words:
    for row in rows:
        number = "" if row["number"] is None else f", number {row['number']}"
        yield f"{row['version']}{number}, in {row['partitions']} of {row['of']} partitions"


def _guarantee(counts: Any) -> Words:
    causes = ", ".join(f"{cause} {count:,}" for cause, count in counts["causes"].items())
    kept, running, missed = (counts[name] for name in ("kept", "running", "missed"))
    yield f"kept {kept:,}, running {running:,}, missed {missed:,}" + (
        f" ({causes})" if causes else ""
    )


def _shares(shares: Any) -> Words:
    for row in shares["promises"]:
        yield promise_line(row)
    if shares["age_ms"] is None:
        yield f"no mix: {shares['why']}"
    else:
        ignored = percent(shares["unsteered"])
        yield f"mix {shares['age_ms'] / 1_000:.0f} s old" + (
            f", {ignored} of the impressions went by none" if ignored else ""
        )


def _waiting(waiting: Any) -> Words:
    longest = waiting["longest"]
    if longest is None:
        yield "no video waits for a verdict"
        return
    title = f' "{printable(longest["title"].encode())}"' if longest["title"] else ""
    why = longest["why"] or "the gate did not decide"
    named = f"{longest['video']}{title} since {moment(longest['since'])}"
    videos = count_of(waiting["videos"], "video")
    yield f"{videos}, the longest {named}: {why}"


WORDS: Final[Mapping[str, Callable[[Any], Words]]] = {
    "lag": _lag,
    "workers": _workers,
    "halts": _halts,
    "skips": _skips,
    "flow": _flow,
    "letters": _letters,
    "policy": _policy,
    "guarantee": _guarantee,
    "shares": _shares,
    "waiting": _waiting,
}
"""What makes words of a section, in the order of the screen."""
