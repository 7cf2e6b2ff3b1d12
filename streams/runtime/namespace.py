"""Which set of counters is which: whatever must be equal for two of them to be comparable."""

import hmac
from hashlib import sha256
from typing import Final

from streams.errors import Halt
from streams.runtime.ports import TopicIdentity

SCHEMA: Final = 2
"""Of rows and meta; a worker never writes over those of another."""
_BECAME: Final = "became"


def namespace_of(identity: TopicIdentity, installation: str) -> str:
    """Return the name of one set of counters, of the installation with this id.

    Keys and the length of generations are not in it: they change by records of the log, which
    count from their place on.
    """
    return (
        f"installation={installation};id={identity.topic_id};partitions={identity.partitions};"
        f"schema={SCHEMA}"
    )


def log_name(identity: TopicIdentity, installation: str) -> str:
    """Return what tells a log in an installation from any other one, for those who were told it."""
    parts = (*map(str, identity), installation)
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def left_namespace(namespace: str, topic_id: str) -> str:
    """Return the name of counters that went over into another topic: nobody writes them any more.

    >>> left_namespace("id=a;schema=2", "b")
    'id=a;schema=2;became=b'
    """
    return f"{namespace};{_BECAME}={topic_id}"


def coming_namespace(namespace: str, run: str) -> str:
    """Return the name of counters that a run is still bringing here, with the run's own id.

    >>> coming_namespace("id=b;schema=2", "r1")
    'id=b;schema=2;coming=r1'
    """
    return f"{namespace};coming={run}"


def before_leaving(namespace: str) -> str:
    """Return the name that counters had before they went over into another topic, if they did.

    >>> before_leaving("id=a;schema=2;became=b"), before_leaving("id=a")
    ('id=a;schema=2', 'id=a')
    """
    return namespace.partition(f";{_BECAME}=")[0]


def first_namespace(identity: TopicIdentity, generation_records: int, secret: bytes) -> str:
    """Return the name that 0.1.0 gave to the counters of this log."""
    return (
        f"cluster={identity.cluster_id};topic={identity.topic};id={identity.topic_id};"
        f"partitions={identity.partitions};generation={generation_records};"
        f"secret={fingerprint(secret)};schema=1"
    )


def parts_of(namespace: str) -> dict[str, str]:
    """Return what a namespace names.

    >>> parts_of("id=a;schema=2")
    {'id': 'a', 'schema': '2'}
    """
    return dict(part.partition("=")[::2] for part in namespace.split(";"))


def fingerprint(secret: bytes) -> str:
    """Return what tells one secret of 0.1.0 from another and does not give it away."""
    return hmac.new(secret, b"namespace", sha256).hexdigest()[:12]


def other_namespace(partition: int | None, stored: str, ours: str) -> Halt:
    """Return the halt of a partition (None: of all) whose counters are another namespace's.

    >>> print(other_namespace(3, "topic=a;partitions=8;schema=1", "topic=a;partitions=12;schema=1"))
    partition 3: its counters differ in partitions (stored 8, now 12): go back to what they \
were counted with, use an empty Redis database, or `streams counters rebuild --yes`
    """
    now, then = parts_of(ours), parts_of(stored)
    differing = ", ".join(
        f"{name} (stored {then.get(name)}, now {value})"
        for name, value in now.items()
        if then.get(name) != value
    )
    where = "the log" if partition is None else f"partition {partition}"
    if _BECAME in then and not differing:
        return Halt(
            f"{where}: its counters went over into the topic with the id {then[_BECAME]}, by "
            "`streams counters repartition`: use its topic_prefix and its Redis",
            code="namespace",
            partition=partition,
        )
    return Halt(
        f"{where}: its counters differ in {differing}: go back to what they "
        "were counted with, use an empty Redis database, or `streams counters rebuild --yes`",
        code="namespace",
        partition=partition,
    )


def corrupt(partition: int, place: str, why: str) -> Halt:
    """Return the halt of a partition of which something stored cannot be read.

    `place` is the key in Redis, so far as it is known.
    """
    return Halt(
        f"partition {partition}: {place} cannot be read ({why}): something else wrote there, or it "
        f"was damaged; count this partition again with {rebuild_of(partition)}",
        code="store_corrupt",
        partition=partition,
    )


def rebuild_of(partition: int) -> str:
    """Return the command that counts one partition again.

    >>> rebuild_of(3)
    '`streams counters rebuild --partition 3 --yes`'
    """
    return f"`streams counters rebuild --partition {partition} --yes`"


def meta_key(partition: int) -> str:
    """Return the key of a partition's meta; the braces keep a partition in one slot."""
    return f"s:{{{partition}}}:meta"


def halt_key(partition: int) -> str:
    """Return the key that tells why a partition halted."""
    return f"s:{{{partition}}}:halt"


def video_key(partition: int, video: str) -> str:
    """Return the key of a video's rows."""
    return f"s:{{{partition}}}:v:{video}"


def dossier_key(partition: int, video: str) -> str:
    """Return the key of what the control plane knows of a video."""
    return f"s:{{{partition}}}:d:{video}"


def dossier_meta_key(partition: int) -> str:
    """Return the key that tells how far a partition's dossiers hold the control plane's topics."""
    return f"s:{{{partition}}}:dmeta"


def claims_key(partition: int, creator: str) -> str:
    """Return the key of the full guarantees that a creator's videos have."""
    return f"s:{{{partition}}}:dclaims:{creator}"


def day_key(day: int) -> str:
    """Return the key of what creators' videos had come to when a day began."""
    return f"s:creators:{day}"


def counter_keys(partition: int) -> str:
    """Return the pattern of all keys that counters of a partition have; its dossiers begin by d."""
    return f"s:{{{partition}}}:[^d]*"
