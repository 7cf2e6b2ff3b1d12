"""How fast a log was counted: from how far each partition's counters were, and when.

The log of a bench begins with the admissions and goes on with the feedback. To bring a video in
costs as much as dozens of events, so the two are told apart: until every partition has counted its
admissions, and from then on.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

Timeline = dict[int, list[tuple[int, float]]]
"""By partition: stored watermarks, and when each was first seen (s)."""
_LEAST_S: Final = 1e-6


class BenchLog(NamedTuple):
    """What stands in a log, in this order: by partition the records of both, and what they say."""

    admissions: Mapping[int, int]
    feedback: Mapping[int, int]
    videos: int
    events: int


class CountedRates(NamedTuple):
    """Per second: events over the whole time, that of the admissions too; and each by itself."""

    mixed_events: float
    videos: float
    feedback_events: float


def rates_of(timeline: Timeline, log: BenchLog) -> CountedRates:
    """Return the rates from the first watermark that was seen to the last one.

    >>> seen = {0: [(-1, 9.0), (49, 10.0), (99, 11.0), (1_099, 13.0)]}
    >>> rates_of(seen, BenchLog({0: 100}, {0: 1_000}, 100, 1_000))
    CountedRates(mixed_events=318.18..., videos=50.0, feedback_events=500.0)
    """
    admissions, feedback = log.admissions, log.feedback
    began = min(at for marks in timeline.values() for mark, at in marks if mark >= 0)
    ended = max(marks[-1][1] for marks in timeline.values())
    brought_in = max(_reached(timeline[p], count - 1) for p, count in admissions.items())
    first = counted_by(timeline, began)
    admitted, total = sum(admissions.values()), sum(feedback.values())
    early = sum(min(first[p], count) for p, count in admissions.items())
    ahead = sum(
        max(count - admissions[p], 0) for p, count in counted_by(timeline, brought_in).items()
    )
    whole = admitted + total
    return CountedRates(
        log.events * (1 - sum(first.values()) / whole) / max(ended - began, _LEAST_S),
        log.videos * (1 - early / admitted) / max(brought_in - began, _LEAST_S),
        log.events * (1 - ahead / total) / max(ended - brought_in, _LEAST_S),
    )


def counted_by(timeline: Timeline, now: float) -> dict[int, int]:
    """Return the records that each partition had counted by then."""
    return {p: max(mark for mark, at in marks if at <= now) + 1 for p, marks in timeline.items()}


def _reached(marks: list[tuple[int, float]], offset: int) -> float:
    """Return when a partition's watermark was seen at an offset or beyond."""
    return next(at for mark, at in marks if mark >= offset)
