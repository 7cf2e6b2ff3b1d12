"""Runs are timed by the clock and by the cores of their processes."""

import asyncio
import os
import time

import pytest

from streams.lab.counted import Stretch, stretch_of
from streams.lab.timed import Cores, Timed, cpu_seconds


def test_work_of_a_process_shows_and_waiting_does_not() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < before + 0.05:
        sum(range(10_000))
    assert cpu_seconds(os.getpid()) >= time.process_time() - 0.05


async def test_cores_are_told_between_two_moments() -> None:
    cores = Cores([os.getpid()])
    async with cores.watched():
        began, before = time.perf_counter(), time.process_time()
        while time.process_time() < before + 0.3:  # noqa: ASYNC110 - work is what is waited for
            await asyncio.sleep(0)
        ended = time.perf_counter()
    assert cores.between(began, ended) == pytest.approx(0.3, abs=0.1)
    assert cores.between(began, began) == 0


def test_a_run_without_measurable_work_has_a_rate() -> None:
    assert Timed(100, 1.0, 0.0).per_cpu_second == pytest.approx(10_000)


TIMELINE = {
    0: [(-1, 0.0), (99, 1.0), (999, 3.0)],
    1: [(-1, 0.0), (49, 1.5), (149, 2.0), (499, 2.5)],
}


def test_the_clock_starts_where_every_partition_is_past_its_admissions() -> None:
    assert stretch_of(TIMELINE, {0: 100, 1: 100}) == Stretch(2.0, 3.0, 900 + 350)


def test_several_workers_are_timed_while_each_has_something_to_do() -> None:
    assert stretch_of(TIMELINE, {0: 100, 1: 50}, together=True) == Stretch(1.5, 2.5, 450)


def test_what_ends_before_the_clock_starts_is_empty() -> None:
    early = {0: [(-1, 0.0), (99, 1.0)], 1: [(99, 0.5)]}
    for together in (False, True):
        assert stretch_of(early, {0: 100, 1: 50}, together=together).events == 0
