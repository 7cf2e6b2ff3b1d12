"""A question is asked once at a time, and costs nobody more than his patience."""

import asyncio
import gc
from typing import Any

import pytest

from streams.errors import Retry
from streams.runtime.question import SharedQuestion


class Asked:
    """Counts how often it is asked; answers, or raises, once it may."""

    def __init__(self, answer: str | Retry) -> None:
        self.times = 0
        self.may = asyncio.Event()
        self._answer = answer

    async def __call__(self) -> str:
        self.times += 1
        await self.may.wait()
        if isinstance(self._answer, Retry):
            raise self._answer
        return self._answer


async def test_whoever_asks_meanwhile_gets_the_same_answer() -> None:
    asked = Asked("this one")
    question = SharedQuestion(asked)
    with pytest.raises(TimeoutError):
        await question.answer(0)
    waiting = [asyncio.create_task(question.answer(9)) for _ in range(2)]
    await asyncio.sleep(0)  # both wait
    asked.may.set()
    assert await asyncio.gather(*waiting) == ["this one"] * 2
    assert asked.times == 1
    await question.answer(9)
    assert asked.times == 2


async def test_what_asking_fails_with_is_raised_to_each_who_waits() -> None:
    asked = Asked(Retry("nobody leads"))
    question = SharedQuestion(asked)
    waiting = [asyncio.create_task(question.answer(9)) for _ in range(2)]
    asked.may.set()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in failed] == ["nobody leads"] * 2
    assert asked.times == 1


async def test_nobody_is_warned_of_a_failure_that_nobody_waits_for_any_more() -> None:
    warnings: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: warnings.append(told))
    asked = Asked(Retry("nobody leads"))
    question = SharedQuestion(asked)
    with pytest.raises(TimeoutError):
        await question.answer(0)
    asking = question._asking
    assert asking is not None
    asked.may.set()
    await asyncio.wait([asking])
    del asking, question
    gc.collect()
    assert not warnings


async def test_a_question_that_is_stopped_is_asked_no_longer() -> None:
    asked = Asked("this one")
    question = SharedQuestion(asked)
    question.stop()
    with pytest.raises(TimeoutError):
        await question.answer(0)
    asking = question._asking
    assert asking is not None
    question.stop()
    await asyncio.wait([asking])
    assert asking.cancelled()
