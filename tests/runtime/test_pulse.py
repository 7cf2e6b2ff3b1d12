"""What a process says of itself: from its loop, and when its loop says nothing any more."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from threading import Event
from types import SimpleNamespace

import pytest
from kit.patience import PATIENCE_S, until

from streams.runtime import pulse as module
from streams.runtime.dependencies import Dependency
from streams.runtime.pulse import Pulse, watch_the_loop


class Half:
    """A half of a process that says what it is given."""

    def __init__(self, stuck: Sequence[str] = (), unready: Sequence[str] = ()) -> None:
        self._stuck, self._unready = stuck, unready

    def stuck(self) -> Sequence[str]:
        return self._stuck

    def unready(self) -> Sequence[str]:
        return self._unready


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def running(*halves: Half, stuck_s: float = 300, clock: Clock | None = None) -> Pulse:
    made = Pulse(stuck_s, clock or Clock())
    made.vitals.extend(halves)
    made.phase = "running"
    made.listen()
    return made


def test_a_process_that_starts_or_stops_is_well_and_not_ready() -> None:
    made = Pulse(300, Clock())
    assert (made.stuck(), made.unready()) == ((), ["starting"])
    made.listen()
    assert made.unready() == ["starting"]
    made.phase = "running"
    made.listen()
    assert made.unready() == []
    made.phase = "stopping"
    made.listen()
    assert (made.stuck(), made.unready()) == ([], ["stopping"])


def test_every_half_says_its_own_and_what_is_stuck_is_not_ready() -> None:
    made = running(Half(["a"], ["b"]), Half([], ["c"]))
    assert made.stuck() == ["a"]
    assert made.unready() == ["a", "b", "c"]


def test_a_server_that_is_away_makes_a_process_unready_and_not_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis = Dependency("Redis", Clock())
    redis.watched = True
    monkeypatch.setattr(module, "DEPENDENCIES", (redis,))
    redis.failed("refused")
    made = running()
    assert (made.stuck(), made.unready()) == ([], ["Redis does not answer"])


@pytest.mark.parametrize(("stuck_s", "after_s", "is_stuck"), [(10, 4, 0), (10, 6, 1), (0, 999, 0)])
def test_a_loop_that_says_nothing_any_more_is_stuck_at_half_time(
    stuck_s: float, after_s: float, is_stuck: int
) -> None:
    clock = Clock()
    made = running(stuck_s=stuck_s, clock=clock)
    clock.now += after_s
    assert len(made.stuck()) == is_stuck
    assert not is_stuck or made.stuck() == [f"the event loop has stood still for {after_s} s"]


def test_a_process_whose_loop_stands_still_is_ended() -> None:
    ended = Event()
    made = running()
    watch_the_loop(made, 0.05, lambda code: ended.set() if code == 1 else None)
    assert ended.wait(PATIENCE_S)


async def test_a_process_whose_loop_goes_on_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, looks = Event(), count()
    made = running()

    def sleep(_: float) -> None:
        """Let at least one beat pass between two looks, as long as there are any."""
        beats, look = made.beats, next(looks)
        while made.beats == beats and not beating.done():
            time.sleep(0)
        assert not ended.is_set(), look

    monkeypatch.setattr(module, "BEAT_S", 0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))
    beating = asyncio.create_task(made.beat())
    watch_the_loop(made, 1.0, lambda _: ended.set())
    await until(lambda: next(looks) > 100)
    assert not ended.is_set()
    beating.cancel()
    await until(ended.is_set)
