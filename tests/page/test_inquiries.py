"""Inquiries: asked again and again, once for all who look, and only while somebody does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from kit.patience import PATIENCE_S

from streams.errors import Halt
from streams.page import inquiries
from streams.page.inquiries import Ask, Crowded, Inquiry, Shared, all_known, asking


class Oracle:
    """Counts how often it is asked, and how many ask it at a time; answers with the count."""

    def __init__(self) -> None:
        self.asked = self.running = 0

    async def answer(self) -> int:
        self.asked += 1
        return self.asked

    @asynccontextmanager
    async def view(self) -> AsyncIterator[Ask]:
        self.running += 1
        try:
            yield self.answer
        finally:
            self.running -= 1


async def first(inquiry: Inquiry) -> tuple[object, str | None]:
    async for told in inquiry.answers():
        return told
    raise AssertionError


async def test_each_answer_is_told_to_whoever_waits_for_it() -> None:
    inquiry = Inquiry(Oracle().answer, 0.001)
    async with asking([inquiry]):
        told = []
        async for value, _ in inquiry.answers():
            told.append(value)
            if len(told) == 3:
                break
    assert told == sorted(set(told))


async def test_why_there_is_no_answer_is_told_and_the_last_one_kept() -> None:
    answers = iter([1])

    async def ask() -> int:
        try:
            return next(answers)
        except StopIteration:
            raise Halt("the broker is away") from None

    inquiry = Inquiry(ask, 0)
    async with asking([inquiry]):
        told = await anext(one async for one in inquiry.answers() if one[1] is not None)
    assert told == (1, "the broker is away")


async def test_what_is_quickly_known_is_waited_for_and_what_is_not_is_left_out() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    quick, slow = Inquiry(Oracle().answer, 60), Inquiry(never, 60)
    async with asking([quick, slow]):
        await all_known([quick, slow], 0.05)
    assert (quick.value, quick.why) == (1, None)
    assert (slow.value, slow.why) == (None, "not read yet")


async def test_a_mistake_of_ours_ends_no_view(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> int:
        raise ValueError("no")

    inquiry = Inquiry(ask, 0)
    async with asking([inquiry]):
        _, why = await first(inquiry)
    assert why == "ValueError: see the page's log"
    assert "a view cannot be read" in caplog.text


async def test_a_cancellation_that_what_is_asked_swallows_ends_it_all_the_same() -> None:
    asked = asyncio.Event()

    async def swallow() -> str:
        asked.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:  # as `asyncio.wait_for` of Python 3.11 may
            return "an answer"
        return "never"

    async with asyncio.timeout(PATIENCE_S), asking([Inquiry(swallow, 3_600)]):
        await asked.wait()


async def test_a_view_runs_once_however_many_look_and_ends_with_the_last() -> None:
    oracle, shared = Oracle(), Shared(60)
    async with shared.looking(("lag", ""), oracle.view) as one:
        assert (await first(one), oracle.running) == ((1, None), 1)
        async with shared.looking(("lag", ""), oracle.view) as other:
            assert (await first(other), other is one) == ((1, None), True)
        assert oracle.running == 1
    await shared.close()
    assert (oracle.running, oracle.asked) == (0, 1)


async def test_nobody_waits_for_a_view_that_is_slow_to_end() -> None:
    leave = asyncio.Event()
    ended = False

    @asynccontextmanager
    async def view() -> AsyncIterator[Ask]:
        nonlocal ended
        try:
            yield Oracle().answer
        finally:
            await leave.wait()
            ended = True

    shared = Shared(60)
    async with shared.looking(("status", ""), view) as inquiry:
        await first(inquiry)
    assert not ended
    leave.set()
    await shared.close()
    assert ended


async def test_one_view_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiries, "MOST", 1)
    oracle, shared = Oracle(), Shared(60)
    async with shared.looking(("video", "a"), oracle.view):
        with pytest.raises(Crowded):
            async with shared.looking(("video", "b"), oracle.view):
                pass
    async with shared.looking(("video", "b"), oracle.view) as inquiry:
        await first(inquiry)


async def test_what_takes_long_is_given_a_rest() -> None:
    asked = []

    async def ask() -> None:
        asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)

    inquiry = Inquiry(ask, 0)
    async with asking([inquiry]):
        async for _ in inquiry.answers():
            if len(asked) == 2:
                break
    assert asked[1] - asked[0] >= 0.02 * (1 + inquiries.REST)
