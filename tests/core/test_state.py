"""What a partition's memory holds and costs."""

import time

import pytest
from kit.events import FIXED, FOOTBALL, NOW, admit, impression, view
from kit.folding import Folding, folded, placed

from streams.core.counters import VIDEO_ROW, decode_slice
from streams.core.fold import fold
from streams.core.state import FRESH, Meta, PartitionState

EVENTS = [impression(f"e{n}", video=f"v{n}") for n in range(500)]


def missing_s(videos: int) -> float:
    """The shortest of some looks for what is missing among so many videos in memory."""
    state = PartitionState(0, 1, 1_000)
    for number in range(videos):
        state.load(f"v{number}", {})
    took = []
    for _ in range(20):
        began = time.process_time()
        assert state.missing(EVENTS) == []
        took.append(time.process_time() - began)
    return min(took)


def test_what_is_missing_is_found_without_a_look_at_every_video_in_memory() -> None:
    assert missing_s(200_000) < 10 * missing_s(500)


# ---------------------------------------------------------------- what is taken for storing


def test_changes_hold_every_row_once_with_its_latest_numbers() -> None:
    done = folded([FIXED, admit(), impression("e1"), impression("e2")])
    changes = done.state.take_changes()
    assert set(changes.rows["v1"]) == {VIDEO_ROW, FOOTBALL}
    assert decode_slice(changes.rows["v1"][FOOTBALL]).impressions == 2
    assert not done.state.take_changes().rows


def test_without_an_offset_feeds_are_told_nothing_and_with_one_all_since() -> None:
    done = folded([FIXED, admit(), impression("e1")])
    assert done.state.take_changes().entries == {}
    told = done.state.take_changes(2).entries
    assert told[FOOTBALL][0].impressions == 1
    assert {entry.offset for entries in told.values() for entry in entries} == {2}
    assert done.state.take_changes(2).entries == {}


def test_feeds_are_told_of_so_much_at_once_and_of_the_other_videos_another_time() -> None:
    done = folded([FIXED, *(admit(f"v{n}", video=f"v{n}") for n in range(4))])
    first = done.state.take_changes(4, most=1)
    assert {one.video for some in first.entries.values() for one in some} == {"v0"}
    assert first.untold == done.state.untold == 3
    rest = done.state.take_entries(5)
    assert {one.video for some in rest.values() for one in some} == {"v1", "v2", "v3"}
    assert not done.state.untold


def test_a_video_that_feeds_were_not_told_of_is_not_forgotten() -> None:
    done = folded([FIXED, admit()])
    done.state.stored(done.state.take_changes().epoch)
    assert done.state.evict(0) == 0
    done.state.stored(done.state.take_changes(1).epoch)
    assert done.state.evict(0) == 1


def test_who_tells_nobody_keeps_nothing_for_feeds() -> None:
    done = folded([FIXED, admit()])
    quiet = PartitionState(0, 1, 1_000, telling=False)
    quiet.load("v1", {})
    fold(quiet, [FIXED, admit()], [0, 1], [0, 0])
    quiet.stored(quiet.take_changes().epoch)
    assert quiet.evict(0) == 1
    assert done.state.take_changes(1).entries
    assert not quiet.take_changes(1).entries


def test_those_that_changed_longest_ago_are_forgotten_first() -> None:
    done = Folding()
    for number in range(6):
        done.fold(placed([impression(f"e{number}", video=f"v{number}")], number)).flush()
    done.fold(placed([impression("again", video="v0")], 6)).flush()
    assert done.state.evict(2) == 4
    assert set(done.state.videos) == {"v0", "v5"}


def test_a_state_begins_where_its_meta_ends() -> None:
    done = folded([FIXED, view("e1")]).flush()
    again = PartitionState(0, 1, 1_000, done.meta)
    assert (again.policy, again.event_time) == (FIXED, NOW)
    assert again.digest == done.state.digest
    assert again.take_changes().meta == done.meta


@pytest.mark.parametrize(
    "meta",
    [
        FRESH._replace(digest="f" * 32),
        FRESH._replace(digest="nonsense"),
        FRESH._replace(policy=b"{"),
        FRESH._replace(policy=b'{"type":"policy"}'),
    ],
)
def test_a_meta_that_nobody_wrote_is_refused(meta: Meta) -> None:
    with pytest.raises(ValueError, match=r"."):
        PartitionState(0, 1, 1_000, meta)
