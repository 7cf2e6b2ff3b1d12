"""What a partition's memory costs."""

import time

from kit.events import impression

from streams.core.state import PartitionState

EVENTS = [impression(f"e{n}", video=f"v{n}") for n in range(500)]


def missing_s(videos: int) -> float:
    """The shortest of some looks for what is missing among so many videos in memory."""
    state = PartitionState(0, 1, 1_000)
    for number in range(videos):
        state.load(f"v{number}", {})
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert state.missing(EVENTS) == []
        took.append(time.perf_counter() - began)
    return min(took)


def test_what_is_missing_is_found_without_a_look_at_every_video_in_memory() -> None:
    assert missing_s(200_000) < 10 * missing_s(500)
