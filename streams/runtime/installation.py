"""Which installation this is, and whose keys count in it: one record of the topic `policies`.

`streams topics apply` writes it, `streams keys` changes it. It names the keys that count from the
beginning of the log; every later change of them is a record of the log itself, so a worker needs no
more than this record and holds no secret. Whoever may write to `policies` decides whose keys count
in counters that are yet to be made: that is for operators alone.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from streams.core.events import (
    PartitionControl,
)
from streams.core.fields import PublicKey
from streams.core.keys import Trust, encode
from streams.core.partition_control import Key
from streams.core.state import Meta
from streams.errors import Halt, Retry
from streams.runtime.ports import LogReader, Outgoing, Producer, Record
from streams.runtime.reasons import PARSER_ERRORS
from streams.runtime.signing import Signer, SigningKey, control_record, key_id
from streams.settings import SIGNING_KEY_FILE, Settings

TOPIC: Final = "policies"
RECORD_KEY: Final = b"installation"
FETCH_MS: Final = 500
SILENT_TRIES: Final = 20


class Installation(msgspec.Struct, frozen=True):
    """One installation; `keys` are in force in every partition by now, in the order they came.

    `first` counted from the beginning of the log on. `fresh` is one that never knew the HMACs of
    0.1.0; in another one they are over once every partition has its `upgrade` record (`upgraded`).
    `pending` is a change of keys that not every partition may have yet. `generation` is how many
    records a generation of duplicates had at the beginning of the log, `lengthened` how many it has
    in every partition by now, 0 if nobody noted it. `base` has the offset of each partition's
    `repartition` record, where its log goes on with the counters of another one: what stands up to
    there is counted already.
    """

    id: str
    first: tuple[PublicKey, ...]
    keys: tuple[PublicKey, ...]
    fresh: bool
    seq: int = 0
    pending: Key | None = None
    upgraded: bool = False
    generation: int = 0
    lengthened: int = 0
    base: tuple[int, ...] = ()

    def begins(self, partition: int, start: int) -> int:
        """Return where what is counted of a log begins, which itself begins at `start`.

        0 where all that was ever counted is in the log.
        """
        return max(start, self.base[partition] + 1) if self.base else start

    def generation_records(self, settings: Settings, *, whole: bool = True) -> int:
        """Return the length of a generation at the beginning of a partition's log.

        Of a log that lost its beginning, and maybe a lengthening with it, that of today.
        """
        begun = self.generation or settings.generation_records
        return begun if whole else max(begun, self.lengthened)

    def trust(self, *, whole: bool = True) -> Trust:
        """Return who may sign at the beginning of a partition's log.

        Of a log that lost its beginning, and maybe changes of keys with it, the keys of today
        count: one that was retired would be back otherwise, and so would HMACs.
        """
        if whole:
            return Trust(self.id, self.first, self.fresh)
        return Trust(self.id, self.keys, self.fresh or self.upgraded)

    def meta(self, stored: Meta, *, whole: bool = True) -> Meta:
        """Return a partition's meta with the keys to begin with, if it holds none yet."""
        return stored if stored.keys else stored._replace(keys=encode(self.trust(whole=whole)))


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Installation).decode


def installation_record(settings: Settings, installation: Installation) -> Outgoing:
    """Return the record that says which installation this is."""
    return Outgoing(settings.topic(TOPIC), _encode(installation), RECORD_KEY, partition=0)


async def table_records(
    reader: LogReader, settings: Settings, start: int = 0
) -> AsyncIterator[Record]:
    """Yield what stands in the topic `policies` from an offset on, in the order it was written.

    The last record of a key is the one that counts. `Retry` if the topic does not answer.
    """
    topic = settings.topic(TOPIC)
    why = "it is not known whose keys count"
    async for record in records_of_table(reader, topic, start, why=why):
        yield record


async def records_of_table(
    reader: LogReader, topic: str, start: int = 0, *, why: str
) -> AsyncIterator[Record]:
    """Yield what stands in a topic of one partition; `Retry`, which says `why`, if it's silent."""
    silence = Retry(f"{topic} does not answer: {why}")
    bounds = (await reader.offsets(topic, [0])).get(0)
    if bounds is None:
        raise silence
    reader.assign({(topic, 0): min(max(start, bounds.start), bounds.end)})
    silent = 0
    while await reader.position(topic, 0) < bounds.end:
        batches = await reader.fetch(FETCH_MS, 1_000)
        silent = 0 if batches else silent + 1
        if silent > SILENT_TRIES:
            raise silence
        for record in batches.get((topic, 0), ()):
            yield record
    reader.assign({})  # nothing is read on in the background


async def read_installation(reader: LogReader, settings: Settings) -> Installation | None:
    """Return the installation of these settings, None if none was made.

    `Retry` if the topic does not answer, `Halt` if what stands there is none.
    """
    latest: bytes | None = None
    async for record in table_records(reader, settings):
        latest = record.value if record.key == RECORD_KEY else latest
    return None if latest is None else decode_installation(settings, latest)


async def put_everywhere(
    producer: Producer,
    topic: str,
    partitions: Sequence[int],
    record: PartitionControl,
    signer: Signer,
) -> None:
    """Write a control record to these partitions of a log; returns when all have it.

    `Retry` if one does not take it.
    """
    acks = [
        await producer.send(control_record(topic, record, signer, partition))
        for partition in partitions
    ]
    done = await asyncio.gather(*acks, return_exceptions=True)
    failed = {
        partition: error
        for partition, error in zip(partitions, done, strict=True)
        if error is not None
    }
    if failed:
        why = next(iter(failed.values()))
        raise Retry(
            f"partitions {sorted(failed)} did not take the record {record.id} ({why}): run the "
            "same command again, it ends what it began"
        )


async def settle_keys(
    producer: Producer, settings: Settings, partitions: int, signer: Signer, begun: Installation
) -> Installation:
    """End the change of keys that is pending: in every partition, then say that it is in force.

    `Retry` if a partition does not take it.
    """
    assert begun.pending is not None
    topic, record = settings.topic("interactions"), begun.pending
    await put_everywhere(producer, topic, range(partitions), record, signer)
    settled = replace(begun, keys=record.keys, seq=record.seq, pending=None)
    await (await producer.send(installation_record(settings, settled)))
    return settled


def require_made(installation: Installation | None, settings: Settings) -> Installation:
    """Return the installation; `Halt` with what to do if there is none."""
    if installation is None:
        raise Halt(
            f"topic {settings.topic(TOPIC)} holds no installation: nobody knows whose control "
            "records count; run `streams topics apply --yes`",
            code="installation_missing",
        )
    return installation


def require_upgraded(installation: Installation) -> Installation:
    """Return the installation; `Halt` while its log is one of 0.1.0: nothing of today counts."""
    if not (installation.fresh or installation.upgraded):
        raise Halt(
            f"installation {installation.id} goes on with a log of 0.1.0 and was not upgraded: run "
            "`streams counters migrate --yes`",
            code="not_upgraded",
        )
    return installation


def signer_of(installation: Installation, key: SigningKey) -> Signer:
    """Return a signer of this installation; `Halt` unless its key is in force everywhere."""
    if key.public not in installation.keys:
        known = ", ".join(map(key_id, installation.keys))
        raise Halt(
            f"the key {key_id(key.public)} of {SIGNING_KEY_FILE} does not count in installation "
            f"{installation.id} (in force: {known}): name the file of one that does, or bring it "
            f"into force with `streams keys add {key.public}`",
            code="signing_key",
        )
    return Signer(installation.id, key)


def decode_installation(settings: Settings, value: bytes) -> Installation:
    """Return what the record `installation` says; `Halt` if it is none."""
    topic = settings.topic(TOPIC)
    try:
        return _decode(value)
    except PARSER_ERRORS as error:
        raise Halt(
            f"{topic}: its record `installation` cannot be read ({error}): somebody else wrote it",
            code="installation",
        ) from None
