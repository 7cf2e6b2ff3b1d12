"""Control records are signed: who may say what is to be shown, and how a reader knows."""

import hmac
from hashlib import sha256
from typing import Final

import msgspec

from streams.core.events import (
    ControlRecord,
    Policy,
)
from streams.runtime.ports import Outgoing

SIGNATURE: Final = "streams-signature"
"""Header of a control record: hex HMAC-SHA256(secret, key + NUL + value)."""

encode: Final = msgspec.json.Encoder().encode
"""Any event to the bytes of its record."""


def sign(secret: bytes, key: bytes | None, value: bytes) -> bytes:
    """Return the signature of a control record, to be sent in the header `SIGNATURE`.

    >>> sign(b"0123456789abcdef", b"v1", b"{}")[:16]
    b'26ebf674fd63298d'
    """
    return hmac.new(secret, (key or b"") + b"\0" + value, sha256).hexdigest().encode()


def control_record(
    topic: str, record: ControlRecord, secret: bytes, partition: int | None = None
) -> Outgoing:
    """Return a control record ready to be sent, signed; a policy needs its `partition` named."""
    value = encode(record)
    key = None if isinstance(record, Policy) else record.video.encode()
    headers = [(SIGNATURE, sign(secret, key, value))]
    return Outgoing(topic, value, key, headers, partition)
