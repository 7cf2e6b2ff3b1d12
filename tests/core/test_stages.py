from typing import get_args

import pytest
from kit.events import FIXED, admit, hold, release, takedown, view
from kit.folding import folded

from streams.core.counters import SLICE_STAGES
from streams.core.events import LogRecord
from streams.core.stages import (
    SLICE_MOVES,
    VIDEO_MOVES,
    IllegalMove,
    SliceMove,
    SliceStage,
    VideoMove,
    VideoStage,
    move_slice,
    move_video,
)

VIDEO_STAGES: tuple[VideoStage, ...] = get_args(VideoStage)
VIDEO_WORDS: tuple[VideoMove, ...] = get_args(VideoMove)
SLICE_WORDS: tuple[SliceMove, ...] = get_args(SliceMove)


@pytest.mark.parametrize("move", VIDEO_WORDS)
def test_a_removed_video_stays_removed(move: VideoMove) -> None:
    assert move_video("removed", move) == "removed"


@pytest.mark.parametrize("stage", VIDEO_STAGES)
def test_a_takedown_removes_a_video_in_every_stage(stage: VideoStage) -> None:
    assert move_video(stage, "takedown") == "removed"


@pytest.mark.parametrize("move", [word for word in VIDEO_WORDS if not word.startswith("admit")])
def test_only_an_admission_makes_an_unknown_video_visible(move: VideoMove) -> None:
    if move in {"takedown", "end"}:
        assert move_video("unknown", move) in {"removed", "ended"}
    else:
        with pytest.raises(IllegalMove, match=f"{move} of a video that is unknown"):
            move_video("unknown", move)


@pytest.mark.parametrize("stage", ["public", "limited"])
def test_a_release_brings_back_the_audience_of_before_the_hold(stage: VideoStage) -> None:
    assert move_video(move_video(stage, "hold"), "release") == stage


@pytest.mark.parametrize("stage", ["held_public", "held_limited"])
def test_only_a_release_or_an_end_ends_a_hold(stage: VideoStage) -> None:
    ends = {move for move in VIDEO_WORDS if not move_video(stage, move).startswith("held")}
    assert ends == {"release", "takedown", "end"}


@pytest.mark.parametrize("move", VIDEO_WORDS)
def test_a_room_that_ended_is_never_shown_again(move: VideoMove) -> None:
    assert move_video("ended", move) == ("removed" if move == "takedown" else "ended")


def test_a_stopped_slice_starts_again_or_never_moves() -> None:
    assert move_slice("stopped", "start") == "active"


@pytest.mark.parametrize("move", sorted(set(SLICE_WORDS) - {"start"}))
def test_nothing_else_moves_a_stopped_slice(move: SliceMove) -> None:
    with pytest.raises(IllegalMove, match="that is stopped"):
        move_slice("stopped", move)


def test_the_tables_hold_known_words_only() -> None:
    assert {stage for stage, _ in VIDEO_MOVES} | set(VIDEO_MOVES.values()) == set(VIDEO_STAGES)
    assert {move for _, move in VIDEO_MOVES} == set(VIDEO_WORDS)
    assert {move for _, move in SLICE_MOVES} <= set(SLICE_WORDS)
    assert set(SLICE_MOVES.values()) <= set(SLICE_STAGES)


@pytest.mark.parametrize("stage", SLICE_STAGES)
@pytest.mark.parametrize("move", SLICE_WORDS)
def test_what_the_slice_table_does_not_hold_is_illegal(stage: SliceStage, move: SliceMove) -> None:
    if (stage, move) in SLICE_MOVES:
        assert move_slice(stage, move) == SLICE_MOVES[stage, move]
    else:
        with pytest.raises(IllegalMove, match=f"{move} of a slice that is {stage}"):
            move_slice(stage, move)


@pytest.mark.parametrize("illegal", [hold(seq=1), release(seq=1)])
def test_an_illegal_move_is_rejected_and_changes_nothing(illegal: LogRecord) -> None:
    before = folded([FIXED, view("e1")]).flush()
    after = folded([FIXED, view("e1"), illegal]).flush()
    assert [said.reason for said in after.rejected] == ["illegal_move"]
    assert after.bytes() == before.bytes()


def test_an_illegal_move_does_not_use_up_its_seq() -> None:
    done = folded([FIXED, hold(seq=1), admit(seq=1)])
    assert done.told() == [("", "open", "admitted")]


def test_after_a_takedown_no_word_starts_anything() -> None:
    done = folded([FIXED, takedown(seq=1), admit(seq=2), release(seq=3)])
    assert not done.receipts
    assert done.own().stage == "removed"
