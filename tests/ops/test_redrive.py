"""Letters sent again: once, marked, and counted as if nothing had been wrong."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from kit.events import NOW, Logged, interaction_record, record, view
from kit.letters import LATER, LIMIT, Post
from kit.twins import Life, World

from streams.core.partitioner import partition_of
from streams.core.receipts import Refusal
from streams.errors import Retry
from streams.ops import redrive as module
from streams.ops.dead_letters import KeptLetter, LetterFilter, read_letters
from streams.ops.mending import Mending
from streams.ops.redrive import Outcomes, Redrive, discard, runs_of
from streams.runtime.memory import MemoryCluster, MemoryProducer, MemoryReader
from streams.runtime.signing import encode

MINUTES = {"watch_ms": 5_000}


def bad(name: str) -> bytes:
    return encode(view(name)).replace(b'"watch_ms":5000', b'"watch_ms":"5 s"')


@pytest.fixture
def post() -> Post:
    return Post()


async def redriven(
    post: Post,
    *,
    yes: bool = True,
    stop: Callable[[], bool] = lambda: False,
    wanted: LetterFilter | None = None,
    **how: Any,
) -> list[dict[str, Any]]:
    letters = read_letters(post.reader, post.cluster, post.settings, wanted or LetterFilter())
    counts = Outcomes("sent", acting=yes)
    work = Redrive(
        post.settings, Mending(4, LIMIT, **how), post.reader, post.producer, lambda: LATER
    )
    await work.run(letters, counts, stop)
    return counts.rows()


def outcomes(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    return {(row["reason"], row["outcome"]): row["events"] for row in rows}


async def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(post: Post) -> None:
    post.refuse(bad("e1"))
    post.refuse(b"{")
    before = post.log.offsets("interactions.dlq", 0), post.sent()
    rows = await redriven(post, yes=False, patch=MINUTES)
    assert outcomes(rows) == {("type", "valid"): 1, ("json", "json"): 1}
    assert (post.log.offsets("interactions.dlq", 0), post.sent()) == before


async def test_done_twice_it_sends_nothing_twice(post: Post) -> None:
    post.refuse(b"[" + bad("e1") + b"," + bad("e2") + b",1]")
    assert outcomes(await redriven(post, patch=MINUTES))["type", "sent"] == 2
    assert outcomes(await redriven(post, patch=MINUTES)) == {("not_object", "not_object"): 1}
    assert len(post.sent()) == 1


async def test_what_was_not_written_stays_open_and_the_same_command_goes_on(post: Post) -> None:
    for number in range(3):
        post.refuse(bad(f"e{number}"))
    post.producer.fail_next(Retry("the broker is away"))
    with pytest.raises(Retry, match="the broker is away; what was sent is marked"):
        await redriven(post, patch=MINUTES)
    assert len(post.sent()) == 2
    assert outcomes(await redriven(post, patch=MINUTES)) == {("type", "sent"): 1}
    ids = sorted(json.loads(one.value or b"")["id"] for one in post.sent())
    assert ids == ["e0", "e1", "e2"]


async def test_it_stops_between_two_runs_of_letters(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RUN_LETTERS", 2)
    for number in range(5):
        post.refuse(bad(f"e{number}"))
    await redriven(post, patch=MINUTES, stop=lambda: len(post.sent()) >= 2)
    assert len(post.sent()) == 2
    await redriven(post, patch=MINUTES)
    assert len(post.sent()) == 5


async def test_a_record_of_which_the_letter_holds_the_place_comes_from_the_log(post: Post) -> None:
    stray = [Refusal(0, 0, "misrouted", "m")]
    for number in (2, 3, 5):
        value, odd = encode(view(f"e{number}", video=f"v{number}")), [("caf\udce9", b"1")]
        post.refuse(value, stray, headers=odd, by=True)
        post.refuse(b"{")  # a neighbour in the log that is not meant
    only = LetterFilter(reasons={"misrouted"})
    rows = await redriven(post, wanted=only, rekey=True)
    assert outcomes(rows) == {("misrouted", "sent"): 3}
    for one in post.sent():
        assert one.partition == partition_of(one.key or b"", 4)


async def test_a_record_that_left_the_log_is_gone(post: Post) -> None:
    letter = post.refuse(encode(view("e1", video="v2")), [Refusal(0, 0, "misrouted", "m")], by=True)
    for partition in range(4):
        post.log.forget("interactions", partition, post.log.offsets("interactions", partition).end)
    assert letter.value is None
    assert outcomes(await redriven(post, rekey=True)) == {("misrouted", "gone"): 1}


async def test_what_was_discarded_is_sent_no_more_and_deleted_never(post: Post) -> None:
    post.refuse(bad("e1"))
    post.refuse(b"{")
    chosen = LetterFilter(reasons={"type"})

    async def discarded(*, yes: bool) -> list[dict[str, Any]]:
        letters = read_letters(post.reader, post.cluster, post.settings, chosen)
        counts = Outcomes("discarded", acting=yes)
        await discard(letters, post.settings, post.producer, counts)
        return counts.rows()

    assert outcomes(await discarded(yes=False)) == {("type", "valid"): 1}
    assert outcomes(await discarded(yes=True)) == {("type", "discarded"): 1}
    assert outcomes(await redriven(post, patch=MINUTES)) == {("json", "json"): 1}
    assert [kept.states for kept in await post.letters(settled=True)] == [("discarded",), ("open",)]


async def test_runs_are_neither_long_nor_large(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUN_BYTES", 1_000)
    for _ in range(3):
        post.refuse(b"1" * 600)
    letters = read_letters(post.reader, post.cluster, post.settings, LetterFilter())
    assert [len(run) async for run in runs_of(letters)] == [2, 1]


# ------------------------------------------------------------------ through a worker

HOW_MANY = 400


def log_of(mistakes: bool) -> list[Logged]:
    """Return views in arrays of two, every tenth element spelled wrongly if there are mistakes."""
    records = []
    for first in range(0, HOW_MANY, 2):
        elements = [
            bad(f"e{n}") if mistakes and n % 10 == 0 else encode(view(f"e{n}", viewer="u1"))
            for n in (first, first + 1)
        ]
        records.append(record(b"[" + b",".join(elements) + b"]", first // 2))
    return records


def letters_of(world: World) -> AsyncIterator[KeptLetter]:
    only = LetterFilter(("interactions",))
    return read_letters(MemoryReader(world.log), MemoryCluster(world.log), world.settings, only)


async def counted(world: World) -> None:
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.stop()


async def test_after_a_redrive_the_counters_are_those_of_a_log_without_the_mistakes() -> None:
    right, wrong = World(), World()
    right.put([*log_of(mistakes=False), interaction_record(view("last"), HOW_MANY)])
    wrong.put(log_of(mistakes=True))
    await counted(right)
    await counted(wrong)
    assert len(wrong.letters()) == HOW_MANY // 10
    letters = letters_of(wrong)
    mending = Mending(1, LIMIT, MINUTES)
    producer = MemoryProducer(wrong.log)
    work = Redrive(wrong.settings, mending, MemoryReader(wrong.log), producer, lambda: NOW)
    counts = Outcomes("sent", acting=True)
    assert await work.run(letters, counts)
    assert counts.total("sent") == HOW_MANY // 10
    wrong.put([interaction_record(view("last"), HOW_MANY)])
    await counted(wrong)
    assert not [kept async for kept in letters_of(wrong)]
    assert await wrong.is_exact()
    assert wrong.rows() == right.rows()
