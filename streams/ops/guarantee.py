"""The guarantee: which videos were not given the first audience that they were owed, and why."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from streams.core.counters import ACTIVE, IDLE, VideoState, load_video
from streams.core.outlook import Outlook
from streams.core.serving import owed
from streams.core.units import MICROS, surface_of
from streams.ops.explain import moment
from streams.ops.shares_text import percent
from streams.ops.video import outlook_in_force
from streams.runtime.ports import Store

MissCause = Literal["slots", "stopped", "not open"]
CAUSES: Final[Mapping[MissCause, str]] = {
    "slots": "too few slots were asked for in their crowds",
    "stopped": "their crowds stopped",
    "not open": "no crowd was ever open to them",
}
"""What each means."""


class Miss(NamedTuple):
    """A video whose time is over and that was shown to the public less often than guaranteed."""

    video: str
    creator: str
    band: int
    shown: int  # public impressions
    guarantee: int
    deadline: int  # ms since 1970
    cause: MissCause


class GuaranteeReport(NamedTuple):
    """The videos with a guarantee that the public may see, by how it stands, and all misses."""

    kept: int
    running: int
    missed: Mapping[MissCause, int]
    misses: list[Miss]


async def report_guarantee(
    store: Store, namespace: str, partitions: int, now_ms: int
) -> GuaranteeReport:
    """Look at every stored video; the policy in force of each partition says how long it had."""
    kept = running = 0
    misses: list[Miss] = []
    for partition in range(partitions):
        outlook = await outlook_in_force(store, namespace, partition, partitions)
        if outlook is None:
            continue
        for video, fields in (await store.scan(partition)).items():
            state = load_video(video, fields)
            if state.row.stage != "public" or not state.row.guarantee:
                continue
            shown = shown_publicly(state)
            deadline = state.row.owed_since + outlook.policy.guarantee_ms
            if shown >= state.row.guarantee:
                kept += 1
            elif now_ms < deadline:
                running += 1
            else:
                row, cause = state.row, _cause(outlook, state)
                misses.append(
                    Miss(video, row.creator, row.band, shown, row.guarantee, deadline, cause)
                )
    return GuaranteeReport(kept, running, Counter(miss.cause for miss in misses), misses)


def facts_for_people(report: GuaranteeReport) -> Iterator[tuple[str, str]]:
    """Yield the counts as people read them, misses by their cause."""
    over = report.kept + len(report.misses)
    share = percent(report.kept * MICROS // over) if over else None
    yield "kept", f"{report.kept:,}" + (f" ({share} of those whose time is over)" if share else "")
    yield "running", f"{report.running:,}"
    yield "missed", f"{len(report.misses):,}"
    for cause, count in sorted(report.missed.items()):
        yield f"missed: {cause}", f"{count:,}, {CAUSES[cause]}"


def miss_for_people(miss: Miss) -> dict[str, Any]:
    """Return a miss as people read it."""
    return miss._asdict() | {"deadline": moment(miss.deadline)[:16]}


def shown_publicly(state: VideoState) -> int:
    """Return the impressions of a video on public surfaces."""
    return sum(
        row.impressions for name, row in state.slices.items() if surface_of(name) != "following"
    )


def _cause(outlook: Outlook, state: VideoState) -> MissCause:
    if owed(outlook, state):
        return "slots"
    public = [name for name in state.slices if surface_of(name) != "following"]
    ended = [name for name in public if state.slices[name].status not in {IDLE, ACTIVE}]
    return "stopped" if ended else "not open"
