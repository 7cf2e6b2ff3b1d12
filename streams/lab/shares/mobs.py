"""Mobs of reporters: what they reach, beside the reports that honest viewers make anyway.

How reports add up and what a video's evidence weighs are the pipeline's own code. A mob is shown
the video as others are, watches it as they do, and then each of them reports and hides it, as often
as they like. The videos are good ones: each is worth more than the price of its crowd.
"""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from random import Random
from typing import Final, NamedTuple

from streams.core.counters import STOPPED, Slice, VideoState
from streams.core.distinct import EVERYONE
from streams.core.events import Admit, Hide, Impression, LogRecord, Policy, Report, View
from streams.core.fold import fold
from streams.core.reports import hear, is_too_much
from streams.core.state import PartitionState
from streams.lab.shares.goals import Goal, GoalVerdict, verdict
from streams.lab.simulator.admission import START_MS
from streams.lab.viewers import Rates, appeal_for, draw_watch, rates_at

WORLD: Final = "mobs"
USUAL: Final = 0.0005
"""Reports an impression, of a video that is as it should be; from video to video it differs."""
VIDEOS: Final = 50_000
SIEGES: Final = 60
MOB: Final = 20
TIMES: Final = 3
"""So often each of a mob reports."""
LEAST, MOST = 60, 1_000_000
"""Impressions of a video, but for its mob's: ten times as many have one in ten of those."""
MOST_BESIEGED: Final = 2_000
SLICE: Final = "discover:cooking"
ABOVE_PRICE: Final = 100_000
DURATION_MS: Final = 20_000
GENERATION: Final = 1 << 20


class MobWorld(NamedTuple):
    """What came of the reports of one seed, in percent of the videos, and of the sieges."""

    in_vain: float  # honest reports alone had a person look at it
    removed: float  # are not public any more
    asked: float  # a person looks at what a mob reports
    stopped: float  # evidence stopped it in its crowd, which it would not have without the mob


def play(policy: Policy, seed: int) -> MobWorld:
    """Let honest viewers report, and mobs besiege good videos."""
    chance = Random(f"{WORLD} {seed}")  # noqa: S311 - repeatable viewers
    in_vain = sum(_is_asked_in_vain(policy, chance) for _ in range(VIDEOS)) / VIDEOS
    removed = asked = stopped = 0
    for siege in range(SIEGES):
        visitors = min(_impressions(chance), MOST_BESIEGED)
        alone = _besieged(policy, Random(f"{seed} {siege}"), visitors, 0)  # noqa: S311
        state = _besieged(policy, Random(f"{seed} {siege}"), visitors, MOB)  # noqa: S311
        removed += state.row.stage != "public"
        asked += bool(state.row.reported and state.row.reported.since)
        stopped += _is_stopped(state) and not _is_stopped(alone)
    share = 100 / SIEGES
    return MobWorld(100 * in_vain, share * removed, share * asked, share * stopped)


MOB_GOALS: Final = (
    Goal("videos that a person looks at in vain", (), attrgetter("in_vain"), "%", most=0.1),
    Goal(f"good videos that {MOB} reporters remove", (), attrgetter("removed"), "%", most=0.0),
    Goal("and that a person looks at by them", (), attrgetter("asked"), "%"),
    Goal("and that evidence stops by them", (), attrgetter("stopped"), "%"),
)


def verdicts(policy: Policy, seeds: Sequence[int]) -> Iterator[GoalVerdict]:
    """Yield what was measured over some seeds of each goal."""
    worlds = [play(policy, seed) for seed in seeds]
    for goal in MOB_GOALS:
        yield verdict(goal, WORLD, [goal.measure(world) for world in worlds])


def _is_asked_in_vain(policy: Policy, chance: Random) -> bool:
    """Tell whether the reports of honest viewers have a person look at a video."""
    rate = chance.gammavariate(2, USUAL / 2)
    impressions = _impressions(chance)
    row = Slice(viewers=EVERYONE)
    video = VideoState()
    video.slices[SLICE] = row
    while True:
        row.impressions += 1 + int(chance.expovariate(rate))
        if row.impressions > impressions:
            return False
        viewer = f"u{chance.randrange(1 << 40)}"
        counts, known = hear(video, row, viewer, policy), video.row.reported
        if counts and known is not None and is_too_much(known, policy):
            return True


def _impressions(chance: Random) -> int:
    return min(round(LEAST * chance.paretovariate(1)), MOST)


def _besieged(policy: Policy, chance: Random, visitors: int, mob: int) -> VideoState:
    """Return a good video after so many visitors, half of them before its mob."""
    state = PartitionState(0, 1, GENERATION)
    state.load("v", {})
    admit = Admit("a", "v", START_MS, 1, commercial=False, limited=False, fits={SLICE: 0})
    value = policy.slices[SLICE].price + ABOVE_PRICE
    rates = rates_at(appeal_for(value, policy.weights))
    events: list[LogRecord] = [policy, admit]
    for number in range(visitors // 2):
        events += _seen(chance, rates, f"u{number}")
    for number in range(mob):
        events += _seen(chance, rates, f"m{number}")
    for time in range(TIMES):
        for number in range(mob):
            about = ("v", f"m{number}", SLICE, START_MS)
            events += [Report(f"r{time}-{number}", *about), Hide(f"h{time}-{number}", *about)]
    for number in range(visitors // 2, visitors):
        events += _seen(chance, rates, f"u{number}")
    fold(state, events, range(len(events)), [0] * len(events))
    return state.videos["v"]


def _seen(chance: Random, rates: Rates[float], viewer: str) -> list[LogRecord]:
    about = ("v", viewer, SLICE, START_MS)
    share, _ = draw_watch(chance, rates)
    view = View(f"w-{viewer}", *about, int(share * DURATION_MS), DURATION_MS)
    return [Impression(f"i-{viewer}", *about), view]


def _is_stopped(video: VideoState) -> bool:
    return any(row.status == STOPPED for row in video.slices.values())
