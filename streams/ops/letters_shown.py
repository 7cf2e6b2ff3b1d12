"""Dead letters for people: a line each, one in full, and their counts."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from streams.ops.dead_letters import KeptLetter, State, printable
from streams.ops.explain import moment
from streams.ops.masking import MASK, ShownRecord
from streams.runtime.letters import PREFIX


def as_row(kept: KeptLetter) -> dict[str, Any]:
    """Return a letter in one line: the fields of `dlq list`."""
    return {
        "letter": str(kept.name),
        "written": moment(kept.written.timestamp),
        "state": state_of(kept),
        "reason": ",".join(sorted({refusal.reason for refusal in kept.refusals})),
        "refused": len(kept.refusals),
        "producer": kept.producer,
        "rounds": kept.rounds,
        "message": printable(kept.refusals[0].message.encode()),
    }


def as_object(kept: KeptLetter, *, reveal: bool) -> dict[str, Any]:
    """Return a letter in full, viewers masked unless `reveal`."""
    fields = {
        name.removeprefix(PREFIX): printable(text or b"")
        for name, text in kept.written.headers
        if name.startswith(PREFIX)
    }
    held, shown = kept.held, ShownRecord(kept.written.value, reveal=reveal)

    def spelled(text: bytes) -> str:
        return MASK if shown.hides(text) else printable(text)

    value = shown.value
    return {
        **as_row(kept),
        "stage": kept.letter.stage,
        "timestamp": moment(kept.letter.timestamp),
        "group": fields.get("consumer.group"),
        "app_version": fields.get("app.version"),
        "whole": held is not None,
        "key": spelled(kept.written.key) if kept.written.key is not None else None,
        "headers": [[name, spelled(text or b"")] for name, text in held.headers] if held else [],
        "refusals": [
            {**msgspec.to_builtins(refusal), "state": state}
            for refusal, state in zip(kept.refusals, kept.states, strict=True)
        ],
        "value": printable(value.encode()) if isinstance(value, str) else value,
    }


def in_cells(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object for a table: what is nested as JSON."""
    return {
        name: msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
        for name, value in fields.items()
    }


async def first_rows(letters: AsyncIterator[KeptLetter], limit: int) -> list[dict[str, Any]]:
    """Return so many letters, a line each."""
    rows: list[dict[str, Any]] = []
    async for kept in letters:
        if len(rows) == limit:
            break
        rows.append(as_row(kept))
    return rows


class Tally(msgspec.Struct):
    """Refusals of one kind: how many, in how many letters, written from when to when (ms)."""

    refusals: int = 0
    letters: int = 0
    oldest: int = 1 << 62
    newest: int = 0


async def letter_stats(letters: AsyncIterator[KeptLetter]) -> list[dict[str, Any]]:
    """Return the counts by topic, reason, producer and state, the largest first."""
    tallies: defaultdict[tuple[str, str, str, str], Tally] = defaultdict(Tally)
    async for kept in letters:
        kinds = [
            (kept.name.topic, refusal.reason, kept.producer, state)
            for refusal, state in zip(kept.refusals, kept.states, strict=True)
        ]
        for kind in set(kinds):
            tally, written = tallies[kind], kept.written.timestamp
            tally.refusals += kinds.count(kind)
            tally.letters += 1
            tally.oldest, tally.newest = min(tally.oldest, written), max(tally.newest, written)
    ordered = sorted(tallies.items(), key=lambda one: (-one[1].refusals, one[0]))
    names = ("topic", "reason", "producer", "state")
    return [
        {
            **dict(zip(names, kind, strict=True)),
            "refusals": tally.refusals,
            "letters": tally.letters,
            "oldest": moment(tally.oldest),
            "newest": moment(tally.newest),
        }
        for kind, tally in ordered
    ]


def state_of(kept: KeptLetter) -> State:
    """Return what became of a letter: open while one of its refusals is."""
    return "open" if "open" in kept.states else kept.states[0]
