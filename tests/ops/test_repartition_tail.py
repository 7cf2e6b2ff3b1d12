"""The window of duplicates goes over into a log of another partition count as it was."""

import json
from pathlib import Path

import msgspec
import pytest
from kit.events import (
    FOOTBALL,
    NOW,
    interaction_record,
    like,
    record,
    records_of,
    unlike,
    view,
)
from kit.keys import SPELLING
from kit.repartitions import FIXED_IN_TERM, Move, moving, remembered, together, videos_in, world_of
from kit.twins import LOG, counted

from streams.core.counters import load_video
from streams.core.events import InteractionRecord
from streams.core.generations import read_generations
from streams.core.partition_control import Lead
from streams.core.partitioner import partition_of
from streams.ops.repartition_tail import dealt
from streams.runtime.codec import COUNTED
from streams.runtime.ports import Outgoing


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (4, 2), (2, 3)])
@pytest.mark.parametrize("cut", [25, 160, 233])
async def test_the_window_of_the_new_log_is_that_of_the_old_one(
    before: int, after: int, cut: int, tmp_path: Path
) -> None:
    move = await moving(before, after, tmp_path, generation=40, cut=cut)
    await move.run()
    old = together(remembered(move.before, each) for each in range(before))
    assert together(remembered(move.after, each) for each in range(after)) == old
    assert old[0]


async def test_what_repeats_an_event_of_before_the_switch_counts_nothing_behind_it(
    tmp_path: Path,
) -> None:
    before, after = world_of(1, 4), world_of(2, 4)
    seen = [view("e1"), view("e2"), view("e3"), like("e4"), view("e5")]
    shared = [Lead("lead-1", NOW, 1, "me"), FIXED_IN_TERM]
    before.put(records_of([*shared, *seen]))
    move = Move(await counted(before), after, tmp_path)
    await move.run()
    stayed = videos_in(after)
    for event in [seen[0], seen[2], seen[3], like("e9"), seen[4]]:
        after.log.append(sent_to(event, 2))
    await counted(after)
    assert videos_in(after) == stayed
    after.log.append(sent_to(unlike("e10"), 2))
    await counted(after)
    (row,) = [load_video(v, f).slices[FOOTBALL] for v, f in videos_in(after).items()]
    assert (row.views, row.likes) == (4, 0), "the unlike took back the like of before"


def sent_to(event: InteractionRecord, partitions: int) -> Outgoing:
    """Return the record that a producer writes."""
    one = interaction_record(event)
    home = partition_of(event.video.encode(), partitions)
    return Outgoing(LOG, one.value, one.key, (), home, one.timestamp)


def test_an_array_is_split_by_the_partitions_of_its_videos() -> None:
    videos = [f"v{number}" for number in range(12)]
    here = [video for video in videos if partition_of(video.encode(), 2) == 0]
    events = [msgspec.json.encode(view(f"e-{video}", video=video)) for video in videos]
    array = b"[%b,7,%b]" % (events[0], b",".join(events[1:]))
    one = record(array, 5, key=b"collector", headers=[("a", b"b")])
    parts = list(dealt([one], LOG, (2, 4), SPELLING))
    ids = [[each["video"] for each in json.loads(part.value or b"")] for part in parts]
    homes = [part.partition for part in parts]
    assert sorted(video for some in ids for video in some) == sorted(here)
    assert all(
        partition_of(v.encode(), 4) == home
        for home, some in zip(homes, ids, strict=True)
        for v in some
    )
    assert {(part.key, tuple(part.headers), part.timestamp) for part in parts} == {
        (b"collector", (("a", b"b"), (COUNTED, b"")), NOW)
    }


@pytest.mark.parametrize(("before", "after", "length"), [(2, 4, 40), (4, 2, 80), (2, 3, 40)])
async def test_generations_are_longer_in_fewer_partitions_and_never_shorter(
    before: int, after: int, length: int, tmp_path: Path
) -> None:
    move = await moving(before, after, tmp_path, generation=40, cut=41)
    made = await move.run()
    assert made.generation == made.lengthened == length
    for partition in range(after):
        assert read_generations(move.after.meta(partition).generations, 1).records == length
