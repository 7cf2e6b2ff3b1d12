"""Whether a recording may be folded: with these rules, under this policy, into this Redis."""

from typing import Final

import msgspec

from streams.core.events import Policy
from streams.errors import UNREADABLE, Halt
from streams.recording.folding import Rules, replay_namespace
from streams.recording.manifest import Manifest
from streams.recording.reader import Recording
from streams.runtime.namespace import fingerprint
from streams.runtime.ports import Store

_decode_policy: Final = msgspec.json.Decoder(Policy).decode


async def require_own(store: Store, namespace: str, partitions: int) -> list[int]:
    """Return the partitions that an earlier fold of this recording left in the store.

    Raises `Halt` if it holds any other counters.
    """
    await store.check()
    earlier = []
    for partition in range(partitions):
        try:
            if await store.meta(partition, namespace) is not None:
                earlier.append(partition)
        except Halt as halt:
            raise Halt(
                "this Redis holds live counters, or another replay's: name a database of its own "
                f"({halt})",
                code="namespace",
            ) from None
    return earlier


def require_installation(manifest: Manifest, rules: Rules) -> None:
    """Raise `Halt` if the recorded installation had another secret or length of generations."""
    ours = None if rules.secret is None else fingerprint(rules.secret)
    if ours is not None and manifest.secret not in (None, ours):
        raise Halt(
            f"this log was signed with another secret (fingerprint {manifest.secret}, that of "
            f"STREAMS_SECRET is {ours}): nothing that it signed would count; set the secret of the "
            "installation that was recorded",
            code="secret",
        )
    recorded = manifest.generation_records
    if recorded not in (None, rules.generation_records):
        raise Halt(
            f"this log was counted in generations of {recorded:,} records, the settings say "
            f"{rules.generation_records:,}: repeats would count otherwise; set generation_records "
            f"to {recorded}",
            code="generation_records",
        )


def recorded_policies(recording: Recording, topic: str) -> list[str]:
    """Return the versions of a log's policies in their order; every partition has them all."""
    versions: list[str] = []
    number = min(recording.manifest.topics[topic].spans, default=0)
    for chunk in recording.chunks((topic, number)):
        for record in chunk:
            if record.key is None and record.value is not None:
                versions += _policy_version(record.value)
    return versions


def require_recorded_policy(recording: Recording, topic: str, version: str) -> None:
    """Raise `Halt` if somebody names a policy that this log never had: it would do nothing."""
    versions = recorded_policies(recording, topic)
    if versions and version not in versions:
        raise Halt(
            f"the policy is a record of the log, last {versions[-1]}; {version} of --config would "
            "change nothing: give a folder with the recorded policy, or leave --config out",
            code="policy",
        )


def starts_late(manifest: Manifest, topic: str) -> list[int]:
    """Return the partitions of which the recording lacks the log's beginning."""
    return sorted(n for n, span in manifest.topics[topic].spans.items() if span.start > 0)


async def clear_store(
    recording: Recording, store: Store, topic: str, rules: Rules, *, erase: bool
) -> None:
    """Leave the store this fold's alone, and empty; `Halt` if it is not, or may not be erased."""
    namespace = replay_namespace(recording.manifest, topic, rules)
    earlier = await require_own(store, namespace, recording.manifest.topics[topic].partitions)
    if earlier and not erase:
        raise Halt(
            f"this Redis holds an earlier fold of this recording (partitions {earlier}): "
            "--yes erases that and folds again"
        )
    for partition in earlier:
        await store.erase(partition)


def _policy_version(value: bytes) -> list[str]:
    """Return the version of a policy's record, [] for any other."""
    try:
        return [_decode_policy(value).version]
    except UNREADABLE:
        return []
