"""Control records of one installation, replayed into another: refused there, or signed anew.

Only what counted where it was recorded is signed anew, so no forgery is blessed; and no change of
keys, which is about the keys of there. The rest goes as it is, and is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.core.partition_control import Key, Upgrade
from streams.errors import Halt
from streams.recording.reader import Recording
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.installation import TOPIC, Installation, read_installation, signer_of
from streams.runtime.ports import Cluster, Headers, LogReader, Place, Record
from streams.runtime.signing import SIGNATURE, Signer, SigningKey
from streams.settings import Settings

LOG: Final = "interactions"


class SignedRecords(NamedTuple):
    """Control records of a recorded log: offsets of those that may be signed anew, and the rest."""

    genuine: Mapping[Place, frozenset[int]]
    others: int

    @property
    def total(self) -> int:
        """How many records bear a signature."""
        return self.others + sum(map(len, self.genuine.values()))


@dataclass(frozen=True)
class Resigner:
    """Signs the control records of a recording anew, for one installation."""

    signer: Signer
    genuine: Mapping[Place, frozenset[int]]

    def headers(self, record: Record) -> Headers:
        """Return a record's headers, with another signature where it is a control record."""
        if record.offset not in self.genuine.get((record.topic, record.partition), ()):
            return record.headers
        fresh = self.signer.header(record.key, record.value or b"")
        return [fresh if name == SIGNATURE else (name, text) for name, text in record.headers]


class Signatures(NamedTuple):
    """What a replay makes of control records: `words` to be said before it starts, "" for none."""

    words: str = ""
    resigner: Resigner | None = None


def plan_signatures(
    recording: Recording,
    topics: Mapping[str, str],
    installation: Installation | None,
    key: SigningKey | None,
    spelling: Spelling,
) -> Signatures:
    """Return what becomes of the control records of a log that goes to `installation`.

    `Halt` if they are to be signed anew and there is no such installation, or the key does not
    count in it.
    """
    if installation is None:
        if key is not None:
            raise Halt("--resign: no target topic is the log of an installation: leave it out")
        return Signatures()
    source = recording.manifest.installation
    if key is None and source is not None and source.id == installation.id:
        return Signatures()
    signed = signed_records(
        recording, [name for name, to in topics.items() if is_log(to)], spelling
    )
    there = f"installation {installation.id}"
    if key is None:
        words = f"{signed.total:,} control records were not signed for {there} and will be refused "
        return Signatures(f"{words}there: --resign KEY signs them anew" if signed.total else "")
    resigner = Resigner(signer_of(installation, key), signed.genuine)
    words = f"{signed.total - signed.others:,} control records are signed anew for {there}"
    rest = f"; {signed.others:,} that did not count, or change keys, will be refused there"
    return Signatures(words + (rest if signed.others else ""), resigner)


async def target_installation(
    cluster: Cluster, reader: LogReader, settings: Settings, topics: Mapping[str, str]
) -> Installation | None:
    """Return the installation whose log a target topic is, None if none is one's."""
    existing = await cluster.describe()
    for topic in filter(is_log, topics.values()):
        there = replace(settings, topic_prefix=topic.removesuffix(LOG))
        if there.topic(TOPIC) in existing:
            return await read_installation(reader, there)
    return None


def signed_records(recording: Recording, topics: list[str], spelling: Spelling) -> SignedRecords:
    """Return the control records of recorded logs, judged as their worker judged them."""
    genuine: dict[Place, frozenset[int]] = {}
    others = 0
    for place in recording.places():
        if place[0] in topics:
            genuine[place], bad = _judge(recording, place, spelling)
            others += bad
    return SignedRecords(genuine, others)


def is_log(topic: str) -> bool:
    """Tell whether a topic is named as the log of an installation is."""
    return topic.endswith(LOG)


def _judge(recording: Recording, place: Place, spelling: Spelling) -> tuple[frozenset[int], int]:
    trust = recording.manifest.trust(*place)
    genuine: set[int] = set()
    total = 0
    for chunk in recording.chunks(place):
        signed = [one for one in chunk if any(name == SIGNATURE for name, _ in one.headers)]
        decoded = decode_log(signed, trust, spelling)
        trust = decoded.trust
        good = zip(decoded.events, decoded.offsets, strict=True)
        genuine |= {offset for event, offset in good if not isinstance(event, Key | Upgrade)}
        total += len(signed)
    return frozenset(genuine), total - len(genuine)
