"""Which first audiences are full ones: so many of each creator's a day, whoever admits them.

That is decided once, with the admission, and the dossier and the admission's record bear it; the
count is kept with the dossiers, by a creator's id. A video that asks again has what it had: neither
a restart nor a second control plane gives one twice, or loses one.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from streams.control.admission.dossier import Dossier, Grant, Tools
from streams.core.events import Admit
from streams.core.partitioner import partition_of
from streams.core.units import NEVER
from streams.runtime.ports import Claim, Dossiers

DAY_MS: Final = 86_400_000


async def granted(
    dossiers: Dossiers, partitions: int, tools: Tools, some: Mapping[str, Dossier]
) -> dict[str, Dossier]:
    """Return those of the dossiers that admit a video to the public now, each with its grant.

    Who was admitted first has the first claim.
    """
    admits = {
        video: admit
        for video, each in some.items()
        if each.grant is None and (admit := _admission_of(each)) is not None
    }
    ordered = sorted(admits, key=lambda video: (admits[video].ts, video))
    claims = [_claim(admits[video], partitions) for video in ordered]
    bound = tools.bound
    if tools.guarantee <= bound.beyond:  # there is nothing to be had beyond the bound's own
        return {video: _with(some[video], Grant(tools.guarantee)) for video in ordered}
    full = await dossiers.claim(claims, bound.full_a_day)
    return {
        claim.video: _with(
            some[claim.video], Grant(tools.guarantee, claim.day) if taken else Grant(bound.beyond)
        )
        for claim, taken in zip(claims, full, strict=True)
    }


async def regranted(dossiers: Dossiers, partitions: int, some: Mapping[str, Dossier]) -> None:
    """Have the count know of the full guarantees that dossiers bear: it may have been lost."""
    claims = [
        Claim(partition_of(upload.creator.encode(), partitions), upload.creator, grant.day, video)
        for video, each in some.items()
        if (grant := each.grant) and grant.day and (upload := each.upload)
    ]
    await dossiers.claim(claims, NEVER)


def _admission_of(dossier: Dossier) -> Admit | None:
    """Return the admission to the public that is to be said."""
    admits = (each for each in dossier.unsent if isinstance(each, Admit) and not each.limited)
    return next(admits, None)


def _claim(admit: Admit, partitions: int) -> Claim:
    home = partition_of(admit.creator.encode(), partitions)
    return Claim(home, admit.creator, admit.ts // DAY_MS, admit.video)


def _with(dossier: Dossier, grant: Grant) -> Dossier:
    """Return a dossier that bears a grant, as does its admission."""
    unsent = tuple(
        replace(each, guarantee=grant.impressions) if isinstance(each, Admit) else each
        for each in dossier.unsent
    )
    return replace(dossier, grant=grant, unsent=unsent)
