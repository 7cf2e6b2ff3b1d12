"""Questions about single partitions: one without a leader costs its own answer only.

aiokafka answers for all partitions or, after its time limit, for none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.runtime.ending import end
from streams.runtime.kafka.errors import PASSING
from streams.runtime.ports import Offsets

Answer = TypeVar("Answer")
Ask = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, Answer]]]

TOGETHER_S: Final = 2.0
"""Longest time that one question about all partitions may take before each is asked by itself."""
SINGLY_S: Final = 3.0
"""Longest time that these single questions, side by side, may take."""


async def log_bounds(
    client: AIOKafkaConsumer, at: Sequence[TopicPartition]
) -> dict[TopicPartition, Offsets]:
    """Return first and next offset of each partition that answers."""
    starts, ends = await asyncio.gather(
        _answers(client.beginning_offsets, at), _answers(client.end_offsets, at)
    )
    return {one: Offsets(starts[one], ends[one]) for one in at if one in starts and one in ends}


async def last_offsets(
    client: AIOKafkaConsumer, at: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """Return the end of each partition that answers, as the client's isolation level sees it."""
    return await _answers(client.end_offsets, at)


async def first_offsets(
    client: AIOKafkaConsumer, times: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int | None]:
    """Return the first offset at or after a time of each partition that answers."""

    async def ask(at: list[TopicPartition]) -> Mapping[TopicPartition, Any]:
        answers: Mapping[TopicPartition, Any] = await client.offsets_for_times(
            {one: times[one] for one in at}
        )
        return answers

    answers = await _answers(ask, list(times))
    return {one: None if first is None else first.offset for one, first in answers.items()}


async def _answers(ask: Ask[Answer], at: Sequence[TopicPartition]) -> Mapping[Any, Answer]:
    if not at:
        return {}
    try:
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes with the answer.
        async with asyncio.timeout(TOGETHER_S):
            return await ask(list(at))
    except PASSING:
        return await _single_answers(ask, at)


async def _single_answers(ask: Ask[Answer], at: Sequence[TopicPartition]) -> dict[Any, Answer]:
    asking = [asyncio.ensure_future(_one_answer(ask, one)) for one in at]
    done, late = await asyncio.wait(asking, timeout=SINGLY_S)
    await end(*late)
    return {one: answer for task in done for one, answer in task.result().items()}


async def _one_answer(ask: Ask[Answer], one: TopicPartition) -> Mapping[Any, Answer]:
    try:
        return await ask([one])
    except PASSING:
        return {}
