"""Makes an installation, and changes whose keys count in it.

A change of keys is announced in `policies` before the log has it and settled behind that, so a
change that was cut short is known, and whoever comes next ends it first.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from streams.core.partition_control import Generation, Key
from streams.errors import Halt, Retry
from streams.runtime.answers import require_all
from streams.runtime.installation import (
    Installation,
    installation_record,
    put_everywhere,
    read_installation,
    settle_keys,
)
from streams.runtime.ports import LogReader, Producer
from streams.runtime.signing import Signer, SigningKey, key_id
from streams.settings import Settings

KEYS_MAX: Final = 8
TRIES: Final = 50
AGAIN_S: Final = 0.2


def key_rows(installation: Installation, own: SigningKey | None) -> list[dict[str, Any]]:
    """Return every key that counts, will count or counted first; `own` is the one at hand."""
    pending = installation.pending.keys if installation.pending else ()
    known = dict.fromkeys((*installation.first, *installation.keys, *pending))
    return [
        {
            "key": key_id(public),
            "state": _state(public, installation),
            "own": own is not None and own.public == public,
            "public": public,
        }
        for public in known
    ]


async def make_installation(
    reader: LogReader, producer: Producer, settings: Settings, public: str
) -> Installation:
    """Return the installation of these settings, made with this first key if there is none.

    The topics must be there; one that was just made is waited for. An installation over an empty
    log is fresh: no HMAC ever counts in it.
    """
    found = await _answered(reader, settings)
    if found is not None:
        return found
    topic, partitions = settings.topic("interactions"), range(settings.partitions)
    bounds = require_all(topic, partitions, await reader.offsets(topic, partitions))
    fresh = not any(both.end for both in bounds.values())
    records = settings.generation_records
    made = Installation(
        *(secrets.token_hex(8), (public,), (public,), fresh), generation=records, lengthened=records
    )
    await write_installation(producer, settings, made)
    return made


def with_key(installation: Installation, public: str) -> tuple[str, ...]:
    """Return the keys in force with one more; `Halt` if there are too many."""
    keys = _latest(installation)
    if public not in keys and len(keys) >= KEYS_MAX:
        raise Halt(f"{KEYS_MAX} keys are in force: retire one first")
    return keys if public in keys else (*keys, public)


def without_key(installation: Installation, name: str, own: str) -> tuple[str, ...]:
    """Return the keys in force without one, named by its id or as a whole.

    `Halt` if there is no such key, or if it is the `own` one, that signs its own end.
    """
    keys = _latest(installation)
    gone = [key for key in {*keys, *installation.keys} if name in (key, key_id(key))]
    if not gone:
        known = ", ".join(map(key_id, keys))
        raise Halt(f"no key {name} is in force in installation {installation.id}: {known} are")
    if own in gone:
        raise Halt(f"{key_id(own)} signs this: sign the end of a key with another one")
    return tuple(key for key in keys if key not in gone)


def require_longer(records: int, length: int) -> None:
    """Raise `Halt` unless generations of so many records are longer than those of `length`."""
    if records <= length:
        raise Halt(
            f"a generation has {length:,} records: name more, what was forgotten is not met again"
        )


async def lengthen_generations(
    producer: Producer,
    settings: Settings,
    partitions: int,
    signer: Signer,
    installation: Installation,
    record: Generation,
) -> Installation:
    """Make generations longer in every partition; return the installation of then.

    `Halt` if they would not become longer, `Retry` if a partition does not take it: the same call
    ends it.
    """
    begun = installation.generation_records(settings)
    length = max(begun, installation.lengthened)
    require_longer(record.records, length)
    topic = settings.topic("interactions")
    await put_everywhere(producer, topic, range(partitions), record, signer)
    lengthened = replace(installation, generation=begun, lengthened=record.records)
    await write_installation(producer, settings, lengthened)
    return lengthened


class KeyChanger:
    """Changes whose keys count, in every one of `partitions`, with the word of a signer."""

    def __init__(
        self, producer: Producer, settings: Settings, partitions: int, signer: Signer
    ) -> None:
        self._producer: Final = producer
        self._settings: Final = settings
        self._partitions: Final = partitions
        self._signer: Final = signer

    async def put(
        self, installation: Installation, keys: Sequence[str], now_ms: int
    ) -> Installation:
        """Put exactly these keys in force everywhere; return the installation of then.

        A change that was cut short is ended first. `Retry` if a partition does not take it: the
        same call ends it.
        """
        if installation.pending is not None:
            installation = await self._settle(installation)
        if tuple(keys) == installation.keys:
            return installation
        seq = installation.seq + 1
        record = Key(f"keys-{seq}", now_ms, seq, tuple(keys))
        announced = replace(installation, pending=record)
        await write_installation(self._producer, self._settings, announced)
        return await self._settle(announced)

    async def _settle(self, announced: Installation) -> Installation:
        return await settle_keys(
            self._producer, self._settings, self._partitions, self._signer, announced
        )


def _state(public: str, installation: Installation) -> str:
    if public in installation.keys:
        return "in force"
    coming = installation.pending is not None and public in installation.pending.keys
    return "pending" if coming else "retired"


def _latest(installation: Installation) -> tuple[str, ...]:
    """Return the keys that will be in force once what is pending is done."""
    pending = installation.pending
    return installation.keys if pending is None else pending.keys


async def write_installation(
    producer: Producer, settings: Settings, installation: Installation
) -> None:
    """Write which installation this is; returns when that is durable."""
    await (await producer.send(installation_record(settings, installation)))


async def _answered(reader: LogReader, settings: Settings) -> Installation | None:
    for left in reversed(range(TRIES)):
        try:
            return await read_installation(reader, settings)
        except Retry:
            if not left:
                raise
            await asyncio.sleep(AGAIN_S)
    raise AssertionError  # the last try returns or raises
