"""What people said of whole slices: who froze which one, and why."""

from typing import Any

from streams.ops.explain import moment
from streams.ops.policy import latest_of, read_in_force
from streams.runtime.ports import Store


async def words_in_force(store: Store, namespace: str, partitions: int) -> list[dict[str, Any]]:
    """Return the last word on each slice that anybody spoke of, as the policy in force bears it.

    `partitions` are those that count by it already.
    """
    found = await read_in_force(store, namespace, partitions)
    policy = latest_of(found)
    if policy is None:
        return []
    here = [each.policy for each in found if each.policy is not None]
    return [
        {
            "slice": name,
            "state": "frozen" if word.frozen else "open",
            "by": word.by,
            "since": moment(word.ts),
            "note": word.note,
            "partitions": sum(
                other.slices[name].word == word for other in here if name in other.slices
            ),
        }
        for name, spec in sorted(policy.slices.items())
        if (word := spec.word) is not None
    ]
