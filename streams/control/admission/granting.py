"""Which first audiences are full ones: so many of each creator's a day, whoever admits them.

That is decided once, when the public may see a video first, and the dossier and the record that
says so bear it; the count is kept with the dossiers, by a creator's id. A video that asks again has
what it had: neither a restart nor a second control plane gives one twice, or loses one.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeGuard

from msgspec.structs import replace

from streams.control.admission.dossier import Dossier, Grant, Tools
from streams.core.events import Admit, Revise, VideoControl
from streams.core.partitioner import partition_of
from streams.core.quiet import DAY_MS
from streams.core.units import NEVER
from streams.runtime.ports import Claim, Dossiers

Claiming = Callable[[Sequence[Claim], int], Awaitable[Sequence[bool]]]
"""Tells of each claim whether it is one of the first so many of its creator and day."""


async def granted(
    claim: Claiming, partitions: int, tools: Tools, some: Mapping[str, Dossier]
) -> dict[str, Dossier]:
    """Return those of the dossiers that let the public see a video first, each with its grant.

    Who was let be seen first has the first claim. A video whose upload nobody knows any more has
    no creator, and is none of the full ones.
    """
    wanted = {
        video: opening.ts
        for video, each in some.items()
        if each.grant is None and (opening := _opening(each)) is not None
    }
    ordered = sorted(wanted, key=lambda video: (wanted[video], video))
    bound = tools.bound
    if tools.guarantee <= bound.beyond:  # there is nothing to be had beyond the bound's own
        return {video: _with(some[video], Grant(tools.guarantee)) for video in ordered}
    found = {video: _claim(some[video], wanted[video] // DAY_MS, partitions) for video in ordered}
    claims = [one for one in found.values() if one is not None]
    full = await claim(claims, bound.full_a_day)
    days = {one.video: one.day for one, taken in zip(claims, full, strict=True) if taken}
    grants = {
        video: Grant(tools.guarantee, days[video]) if video in days else Grant(bound.beyond)
        for video in ordered
    }
    return {video: _with(some[video], grant) for video, grant in grants.items()}


async def regranted(
    dossiers: Dossiers,
    log: str,
    partitions: int,
    some: Mapping[str, Dossier],
    lost: Collection[int] | None = None,
) -> None:
    """Have the count know of the full guarantees that dossiers bear: it may have been lost.

    In the `lost` partitions alone, if they are known: a creator's may be another than a video's.
    """
    full = [(each, each.grant.day) for each in some.values() if each.grant and each.grant.day]
    claims = [claim for each, day in full if (claim := _claim(each, day, partitions)) is not None]
    if lost is not None:
        claims = [claim for claim in claims if claim.partition in lost]
    await dossiers.claim(log, claims, NEVER)


def _opening(dossier: Dossier) -> Admit | Revise | None:
    """Return what is to be said and lets the public see the video."""
    return next(filter(_opens, dossier.unsent), None)


def _opens(record: VideoControl) -> TypeGuard[Admit | Revise]:
    if isinstance(record, Admit):
        return not record.limited
    return isinstance(record, Revise) and record.limited is False


def _claim(dossier: Dossier, day: int, partitions: int) -> Claim | None:
    if dossier.upload is None:
        return None
    creator = dossier.upload.creator
    return Claim(partition_of(creator.encode(), partitions), creator, day, dossier.video)


def _with(dossier: Dossier, grant: Grant) -> Dossier:
    """Return a dossier that bears a grant, as does what it says."""
    unsent = tuple(
        replace(each, guarantee=grant.impressions) if _opens(each) else each
        for each in dossier.unsent
    )
    return replace(dossier, grant=grant, unsent=unsent)
