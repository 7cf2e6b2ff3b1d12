"""A load has the mix and the shape that it says, the same for the same seed."""

from collections import Counter

import pytest
from kit.events import FIXED, NOW
from kit.keys import SIGNER, TRUST

from streams.core.events import Admit, Impression, Interaction, LogRecord
from streams.core.partitioner import partition_of
from streams.lab.load import CROWDED_IMPRESSIONS, Load, Shape
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.memory.log import MemoryLog

EVENTS = 20_000
PUBLIC = {name for name in FIXED.slices if name.startswith("discover:")}


def loaded(shape: Shape) -> list[LogRecord]:
    """Return the events of a load as they are read again."""
    load = Load("interactions", 2, shape=shape, policy=FIXED)
    log = MemoryLog(now_ms=lambda: NOW)
    log.create("interactions", 2)
    for batches in (load.admissions(SIGNER, NOW), load.feedback(EVENTS, 50, NOW)):
        for _, records, _ in batches:
            for record in records:
                log.append(record)
    events: list[LogRecord] = []
    for partition in range(2):
        decoded = decode_log(log.records("interactions", partition), TRUST, Spelling(1 << 20))
        assert decoded.refusals == []
        events += decoded.events
    return events


@pytest.mark.parametrize("shape", [Shape(100), Shape.crowded(EVENTS)])
def test_half_of_it_are_impressions(shape: Shape) -> None:
    events = loaded(shape)
    assert sum(isinstance(e, Admit) for e in events) == shape.videos
    assert sum(isinstance(e, Impression) for e in events) == pytest.approx(EVENTS / 2, rel=0.05)


def test_a_crowded_load_shows_every_video_as_often_in_every_crowd_that_it_may_reach() -> None:
    shape = Shape.crowded(EVENTS)
    shown = Counter((e.video, e.slice) for e in loaded(shape) if isinstance(e, Impression))
    assert shape.videos == 2
    assert {slice_id for _, slice_id in shown} == PUBLIC | {"following:fans"}
    each = CROWDED_IMPRESSIONS / (len(PUBLIC) + 1)
    assert all(count == pytest.approx(each, rel=0.2) for count in shown.values())


def test_the_plain_load_has_a_heavy_tail_in_few_crowds() -> None:
    shown = [e for e in loaded(Shape(1_000)) if isinstance(e, Impression)]
    by_video = [count for _, count in Counter(e.video for e in shown).most_common()]
    assert sum(by_video[:100]) == pytest.approx(0.68 * len(shown), rel=0.1)
    assert len({e.slice for e in shown}) == 3


def test_an_even_load_comes_to_each_pair_in_turn() -> None:
    pairs = EVENTS // 4 - 1
    shape = Shape.even(pairs, FIXED)
    events = [e for e in loaded(shape) if isinstance(e, Interaction)]
    met = Counter((e.video, e.slice) for e in events)
    assert len(met) == pairs
    assert set(met.values()) == {4, 5}
    assert {video for video, _ in met} == {f"video{number:07d}" for number in range(shape.videos)}


def test_a_hot_video_has_its_share_of_its_partition_and_the_other_keeps_its_own() -> None:
    events = [e for e in loaded(Shape(1_000, hot=0.9)) if isinstance(e, Interaction)]
    by_video = Counter(e.video for e in events)
    [(first, hottest)] = by_video.most_common(1)
    home = partition_of(first.encode(), 2)
    own = sum(n for video, n in by_video.items() if partition_of(video.encode(), 2) == home)
    assert first == "video0000999"
    assert hottest / own == pytest.approx(0.9, abs=0.02)
    assert own < EVENTS * 0.8


def test_the_same_seed_is_the_same_load() -> None:
    assert loaded(Shape(10)) == loaded(Shape(10))
