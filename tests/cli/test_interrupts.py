"""Ctrl-C: one asks, two at once are one, a later one ends the process."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from kit.patience import PATIENCE_S

from streams.cli.interrupts import SAME_S, Stop, orderly_stop, stop_on_signals


class Scene:
    """A `Stop` with its clock in hand, and what it did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0
        self.codes: list[int] = []
        self.stop = Stop(self.count, clock=lambda: self.now, leave=self.codes.append)

    def count(self) -> None:
        self.calls += 1


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_first_signal_asks_for_an_orderly_end(scene: Scene) -> None:
    assert not scene.stop()
    scene.stop.hear(signal.SIGINT)
    assert scene.stop()
    assert (scene.calls, scene.codes) == (1, [])


def test_two_signals_within_half_a_second_are_one(scene: Scene) -> None:
    scene.stop.hear(signal.SIGTERM)
    scene.now = SAME_S
    scene.stop.hear(signal.SIGTERM)
    assert (scene.calls, scene.codes) == (1, [])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_later_signal_ends_the_process_at_once(scene: Scene, number: int, code: int) -> None:
    scene.stop.hear(signal.SIGINT)
    scene.now = SAME_S + 0.01
    scene.stop.hear(number)
    assert (scene.calls, scene.codes) == (1, [code])


def test_a_block_hears_signals_and_gives_them_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with orderly_stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def handlers_back() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers_back")
def test_a_running_loop_is_woken_by_a_signal() -> None:
    async def work() -> None:
        stopped = asyncio.Event()
        stop_on_signals(stopped.set)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stopped.wait(), PATIENCE_S)

    asyncio.run(work())
