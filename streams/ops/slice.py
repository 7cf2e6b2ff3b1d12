"""What a slice may show now: its candidates as a lease would take them, prices and slots."""

from typing import Any, Final

from streams.core.events import SlicePolicy
from streams.core.outlook import Outlook
from streams.errors import Halt
from streams.ops.video import outlook_in_force
from streams.runtime.leases import prices_of
from streams.runtime.ports import ServingIndex, Store
from streams.settings import Settings

SLOTS_MINUTES: Final = 30


async def any_outlook(store: Store, namespace: str, settings: Settings) -> Outlook:
    """Return the latest policy in force in any partition; `Halt` before any."""
    outlooks = [
        await outlook_in_force(store, namespace, partition, settings.partitions)
        for partition in range(settings.partitions)
    ]
    known = [one for one in outlooks if one is not None]
    if not known:
        raise Halt("no policy is in force yet: does a control plane run (`streams worker`)?")
    return max(known, key=lambda one: one.policy.seq)


def slice_rows(outlook: Outlook) -> list[dict[str, Any]]:
    """Return every slice of a policy: values in micro-units a view, others in impressions."""
    return [_spec_row(name, spec) for name, spec in sorted(outlook.policy.slices.items())]


async def slice_shown(
    index: ServingIndex, outlook: Outlook, slice_id: str, count: int
) -> dict[str, Any]:
    """Return a slice of the policy and its best candidates; `Halt` if there is no such slice."""
    spec = outlook.policy.slices.get(slice_id)
    if spec is None:
        raise Halt(f"the policy in force has no slice {slice_id}: `streams slice list` lists them")
    prices = prices_of(outlook)[slice_id]
    slots = await index.slots(slice_id, SLOTS_MINUTES)
    return {
        **_spec_row(slice_id, spec),
        "policy": outlook.policy.version,
        "slots": [one._asdict() for one in slots],
        "candidates": [
            {
                "video": one.video,
                "score": one.net + prices[one.kind],
                "price": prices[one.kind],
                "net": one.net,
                "left": one.left,
                "allowance": one.allowance,
                "class": one.kind,
            }
            for one in await index.top(slice_id, count)
        ],
    }


def _spec_row(name: str, spec: SlicePolicy) -> dict[str, Any]:
    return {
        "slice": name,
        "price": spec.price,
        "prior_mean": spec.prior_mean,
        "horizon": spec.horizon,
        "reach": spec.reach,
    }
