"""The keeper's evidence, read through the ports: a keyed share, and what does not answer."""

from collections.abc import Callable, Mapping, Sequence

import pytest
from kit.events import FOOTBALL, MUSIC, policy
from kit.evidence import KEY, row_of, video_of
from kit.serving import entry
from msgspec.structs import replace

from streams.control.policy.evidence import is_drawn
from streams.control.policy.sample import LEAST_MINUTES, ONE_IN, Sampling, slots_a_day
from streams.core.counters import VIDEO_ROW, decode_video, encode_slice, encode_video
from streams.errors import Halt, Retry
from streams.runtime.leases import MINUTES, Slots
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.memory.store import MemoryStore, StoredPartition

NS = "cluster/topic/4/1"
PARTITIONS = 4
VIDEOS = [f"v{number}" for number in range(8_000)]
DRAWN = {name for name in VIDEOS if is_drawn(KEY, b"sample", name, 1 / ONE_IN)}


def a_store() -> MemoryStore:
    """Four partitions with two thousand videos each."""
    store, state = MemoryStore(), video_of({FOOTBALL: row_of(0.4)})
    fields = {VIDEO_ROW: encode_video(state.row), FOOTBALL: encode_slice(row_of(0.4))}
    for partition in range(PARTITIONS):
        rows = {name: dict(fields) for name in VIDEOS[partition::PARTITIONS]}
        store.partitions[partition] = StoredPartition(NS, 7, rows=rows)
    return store


def sampling(store: MemoryStore, index: MemoryServingIndex | None = None) -> Sampling:
    return Sampling(store, index or MemoryServingIndex(), NS, PARTITIONS, KEY)


class Silent(MemoryStore):
    """A store some of whose partitions do not answer."""

    def __init__(self, silent: Sequence[int]) -> None:
        super().__init__()
        self.partitions.update(a_store().partitions)
        self._silent = silent

    async def scan(
        self, partition: int, wanted: Callable[[str], bool] | None = None
    ) -> Mapping[str, Mapping[str, bytes]]:
        if partition in self._silent:
            raise Retry("no answer")
        return await super().scan(partition, wanted)


async def test_the_sample_is_the_keyed_share_of_all_partitions() -> None:
    evidence = await sampling(a_store())(policy())
    assert evidence.videos.keys() == DRAWN
    assert evidence.one_in == ONE_IN
    assert evidence.key == KEY
    assert all(state.slices[FOOTBALL].views == 60 for state in evidence.videos.values())


async def test_a_small_platform_takes_more_of_its_videos() -> None:
    index = MemoryServingIndex()
    evidence = await Sampling(a_store(), index, NS, PARTITIONS, KEY, one_in=10)(policy())
    assert evidence.videos.keys() > DRAWN
    assert evidence.one_in == 10


async def test_a_partition_that_does_not_answer_is_left_out_and_the_rest_stands_for_more() -> None:
    evidence = await sampling(Silent([1, 3]))(policy())
    assert evidence.one_in == 2 * ONE_IN
    assert evidence.videos.keys() == {name for name in DRAWN if int(name[1:]) % 2 == 0}


async def test_if_none_answers_it_is_tried_again_later() -> None:
    with pytest.raises(Retry):
        await sampling(Silent(range(PARTITIONS)))(policy())


async def test_counters_of_another_log_are_no_evidence() -> None:
    store = a_store()
    store.partitions[2].namespace = "another/log/4/1"
    with pytest.raises(Halt):
        await sampling(store)(policy())


async def test_partitions_that_were_never_flushed_have_no_videos() -> None:
    evidence = await sampling(MemoryStore())(policy())
    assert evidence.videos == {}
    assert evidence.one_in == ONE_IN


async def test_a_damaged_row_is_left_out() -> None:
    store, bad = a_store(), min(DRAWN)
    store.partitions[int(bad[1:]) % PARTITIONS].rows[bad][FOOTBALL] = b"[9,[]]"
    evidence = await sampling(store)(policy())
    assert evidence.videos.keys() == DRAWN - {bad}


async def test_nothing_is_learned_from_live_rooms() -> None:
    store = a_store()
    room = min(DRAWN)
    fields = next(part.rows[room] for part in store.partitions.values() if room in part.rows)
    fields[VIDEO_ROW] = encode_video(replace(decode_video(fields[VIDEO_ROW]), format="live"))
    assert (await sampling(store)(policy())).videos.keys() == DRAWN - {room}


async def test_slots_are_those_that_leases_asked_for() -> None:
    now = [0.0]
    index = MemoryServingIndex(clock=lambda: now[0])
    await index.apply(FOOTBALL, {0: 1}, [entry(allowance=10**6)])
    for minute in range(0, 2 * LEAST_MINUTES, 2):
        now[0] = 60.0 * minute
        await index.lease(FOOTBALL, 20, 5)
    evidence = await sampling(a_store(), index)(policy())
    expected = 20 * LEAST_MINUTES * MINUTES / (2 * LEAST_MINUTES - 1)
    assert evidence.slots[FOOTBALL] == pytest.approx(expected)
    assert MUSIC not in evidence.slots


def test_less_than_an_hour_says_nothing_of_a_day() -> None:
    assert slots_a_day([]) is None
    assert slots_a_day([Slots(5, 100, 0, 0), Slots(5 + LEAST_MINUTES - 2, 100, 0, 0)]) is None
    assert slots_a_day([Slots(0, 10, 5, 0), Slots(MINUTES - 1, 10, 0, 5)]) == 20.0
