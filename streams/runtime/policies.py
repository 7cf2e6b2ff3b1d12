"""The topic `policies` as a table: every policy of 90 days, and what operators want of them.

A leader writes a policy here before the log has it: whoever leads next finds what was begun. The
key of a policy is its number, that of what operators want is `orders`, that of a person's last word
on a slice its name. Each record is signed as the log's are, and whatever nobody in force signed is
not there.
"""

from typing import Final, NamedTuple

import msgspec

from streams.core.events import (
    Name,
    Policy,
    number_of,
)
from streams.core.fields import Millis, Text
from streams.core.keys import Trust
from streams.core.words import SliceReview
from streams.errors import DeadLetter
from streams.runtime.installation import TOPIC
from streams.runtime.ports import Outgoing, Record
from streams.runtime.reasons import PARSER_ERRORS
from streams.runtime.signing import SIGNATURE, Signer, require_signature
from streams.settings import Settings

ORDERS: Final = b"orders"
WORD: Final = b"slice "
"""Before the slice's name: key of the last word of a person on a slice."""
KEPT_MS: Final = 90 * 86_400_000
"""Policies are kept so long, the latest one and the pinned one for good."""


class Orders(msgspec.Struct, frozen=True):
    """What operators want of the learned half of every policy, until they say otherwise.

    `pinned` is the number of the policy whose learned half stays, "" for none; `frozen` are the
    numbers that stay, each on its own. `by` is the id of the key that signed it.
    """

    ts: Millis
    by: Name
    pinned: Name = ""
    frozen: tuple[Name, ...] = ()
    why: Text = ""


class KeptPolicy(NamedTuple):
    """A policy of the table, and when it was written there (ms)."""

    policy: Policy
    written_ms: int


_encode: Final = msgspec.json.Encoder().encode
_decode_policy: Final = msgspec.json.Decoder(Policy).decode
_decode_orders: Final = msgspec.json.Decoder(Orders).decode
_decode_word: Final = msgspec.json.Decoder(SliceReview).decode


def policy_record(settings: Settings, policy: Policy, signer: Signer) -> Outgoing:
    """Return the record of a policy for the table."""
    return _signed(settings, number_of(policy).encode(), _encode(policy), signer)


def orders_record(settings: Settings, orders: Orders, signer: Signer) -> Outgoing:
    """Return the record of what operators want."""
    return _signed(settings, ORDERS, _encode(orders), signer)


def word_record(settings: Settings, word: SliceReview, signer: Signer) -> Outgoing:
    """Return the record of what a person said of a slice, which the control plane vouches for."""
    return _signed(settings, WORD + word.slice.encode(), _encode(word), signer)


def forgetting_record(settings: Settings, number: str) -> Outgoing:
    """Return the record that takes a policy out of the table."""
    return Outgoing(settings.topic(TOPIC), None, number.encode(), partition=0)


def read_entry(record: Record, trust: Trust) -> KeptPolicy | Orders | SliceReview | None:
    """Return what a record of the table says, None if it is of no kind.

    Of none is what nobody signed whose key is in `trust`.
    """
    if record.value is None or not any(name == SIGNATURE for name, _ in record.headers):
        return None
    try:
        require_signature(record, trust, None)
        if record.key == ORDERS:
            return _decode_orders(record.value)
        if record.key is not None and record.key.startswith(WORD):
            word = _decode_word(record.value)
            return word if record.key == WORD + word.slice.encode() else None
        policy = _decode_policy(record.value)
    except (DeadLetter, *PARSER_ERRORS):
        return None
    is_its_own = record.key == number_of(policy).encode()
    return KeptPolicy(policy, record.timestamp) if is_its_own else None


def stored_policy(raw: bytes) -> Policy | None:
    """Return the policy that a partition's meta holds.

    None before any, and where it is still one of 0.1.0, which lacks numbers of today.
    """
    try:
        return _decode_policy(raw) if raw else None
    except msgspec.ValidationError:
        return None


def _signed(settings: Settings, key: bytes, value: bytes, signer: Signer) -> Outgoing:
    return Outgoing(settings.topic(TOPIC), value, key, [signer.header(key, value)], 0)
