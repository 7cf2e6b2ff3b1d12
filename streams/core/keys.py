"""Who may sign in a partition, and who leads: keys and term in force from one place to the next.

They change only by records of the log itself, by one pure function: the codec asks it while it
decodes, the fold keeps what it says in the partition's meta. So whether a signature counts depends
on the log alone, never on where a batch begins.
"""

import msgspec

from streams.core.events import (
    PartitionControl,
)
from streams.core.fields import PublicKey
from streams.core.partition_control import Key, Lead, Upgrade
from streams.errors import UNREADABLE


class Trust(msgspec.Struct, frozen=True):
    """Whose control records count from one place of a partition's log on.

    `installation` is what every signature is over, beside key and value. Before it is `upgraded` a
    partition is folded as 0.1.0 did, and its HMACs count. `seq` is that of the last `key` record
    applied. `term` is the greatest one that was taken, by the record `lead`.
    """

    installation: str = ""
    keys: tuple[PublicKey, ...] = ()
    upgraded: bool = False
    seq: int = 0
    term: int = 0
    lead: str = ""

    def after(self, record: PartitionControl) -> "Trust":
        """Return who may sign behind a record that counts.

        >>> one, other = "a" * 64, "b" * 64
        >>> Trust(keys=(one,)).after(Key("k1", 1_700_000_000_000, 1, (other,))).keys == (other,)
        True
        """
        if isinstance(record, Upgrade):
            return msgspec.structs.replace(self, upgraded=True)
        if isinstance(record, Key) and record.seq > self.seq:
            return msgspec.structs.replace(self, keys=record.keys, seq=record.seq)
        if isinstance(record, Lead) and record.term > self.term:
            return msgspec.structs.replace(self, term=record.term, lead=record.id)
        return self


FIRST = Trust()
"""Signs nothing but HMACs: of a log of 0.1.0 whose installation is not known."""
NOBODY = Trust(upgraded=True)
"""Signs nothing that counts, and knows nothing of 0.1.0."""

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Trust).decode


def read_trust(raw: bytes) -> Trust:
    """Return what a meta holds, `NOBODY` for b""; `ValueError` if it cannot be read."""
    try:
        return _decode(raw) if raw else NOBODY
    except UNREADABLE as error:
        raise ValueError(f"keys: {error}") from None
