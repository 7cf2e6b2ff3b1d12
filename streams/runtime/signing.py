"""Control records are signed: who may say what is to be shown, and how a reader knows.

A signature is one of Ed25519 over installation id, key and value, so what was said in one
installation counts in no other one, and whoever only checks it holds public keys alone. Before the
`upgrade` record of a partition an HMAC-SHA256 by a shared secret counts too, as 0.1.0 wrote it.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from streams.core.events import ControlRecord, PartitionControl
from streams.core.keys import Trust
from streams.errors import DeadLetter
from streams.runtime.ports import Outgoing, Record

SIGNATURE: Final = "streams-signature"
"""Header of a control record: `ed25519:KEY ID:SIGNATURE`, or the hex HMAC of 0.1.0."""
SCHEME: Final = b"ed25519"
Scheme = Literal["ed25519", "hmac"]
_CONTEXT: Final = b"streams control record 2"

encode: Final = msgspec.json.Encoder().encode
"""Any event to the bytes of its record."""


class SigningKey:
    """An Ed25519 private key; it never shows itself, `public` is its other half in hex."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key: Final = key
        self.public: Final = self._key.public_key().public_bytes_raw().hex()

    def __repr__(self) -> str:
        return f"SigningKey({key_id(self.public)})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is neither copied nor pickled")

    @classmethod
    def fresh(cls) -> "SigningKey":
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    def pem(self) -> bytes:
        """Return the private key as text: for its file, and for nothing else."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._key.sign(message)


@dataclass(frozen=True)
class Signer:
    """Signs the control records of one installation."""

    installation: str
    key: SigningKey

    def header(self, key: bytes | None, value: bytes) -> tuple[str, bytes]:
        """Return the header of a control record with this key and value."""
        signature = self.key.sign(_message(self.installation, key, value)).hex()
        return SIGNATURE, b":".join((SCHEME, key_id(self.key.public).encode(), signature.encode()))


@lru_cache(maxsize=256)
def key_id(public: str) -> str:
    """Return the short name of a public key.

    >>> key_id("00" * 32)
    '66687aadf862bd77'
    """
    return sha256(bytes.fromhex(public)).hexdigest()[:16]


def sign_old(secret: bytes, key: bytes | None, value: bytes) -> bytes:
    """Return the signature that 0.1.0 gave a control record: hex HMAC-SHA256.

    >>> sign_old(b"0123456789abcdef", b"v1", b"{}")[:16]
    b'26ebf674fd63298d'
    """
    return hmac.new(secret, (key or b"") + b"\0" + value, sha256).hexdigest().encode()


def control_record(
    topic: str, record: ControlRecord, signer: Signer, partition: int | None = None
) -> Outgoing:
    """Return a control record ready to be sent, signed; one without a video needs `partition`."""
    value = encode(record)
    key = None if isinstance(record, PartitionControl) else record.video.encode()
    return Outgoing(topic, value, key, [signer.header(key, value)], partition)


def seal(signer: Signer, kind: bytes, text: bytes) -> bytes:
    """Return a signature of a text of ours that is no record of the log; its kind is signed too."""
    return signer.header(kind, text)[1]


def require_seal(signature: bytes, kind: bytes, text: bytes, trust: Trust) -> None:
    """Raise `DeadLetter` unless a key that is in force sealed a text of this kind."""
    scheme, *parts = signature.split(b":")
    if scheme != SCHEME or len(parts) != 2:
        raise DeadLetter("signature", "it bears no signature of Ed25519")
    _require_ed25519(kind, text, trust, parts)


def require_signature(record: Record, trust: Trust, secret: bytes | None) -> Scheme:
    """Return how a record is signed; `DeadLetter` unless one key in force did, and nobody else.

    `secret` is that of 0.1.0, None if nobody gave it.
    """
    signatures = [text or b"" for name, text in record.headers if name == SIGNATURE]
    if len(signatures) != 1:
        raise DeadLetter("signature", f"{len(signatures)} signatures, one is wanted")
    scheme, *parts = signatures[0].split(b":")
    if scheme == SCHEME and len(parts) == 2:
        _require_ed25519(record.key, record.value or b"", trust, parts)
        return "ed25519"
    _require_hmac(record, signatures[0], trust, secret)
    return "hmac"


def _require_ed25519(key: bytes | None, value: bytes, trust: Trust, parts: Sequence[bytes]) -> None:
    name, signature = parts
    public = next((one for one in trust.keys if key_id(one).encode() == name), None)
    if public is None:
        raise DeadLetter("signature", "the key that signed it is not in force here")
    message = _message(trust.installation, key, value)
    try:
        _loaded(public).verify(bytes.fromhex(signature.decode()), message)
    except (InvalidSignature, ValueError):
        raise DeadLetter(
            "signature", "the signature is not that of this key, record and installation"
        ) from None


def _require_hmac(record: Record, signature: bytes, trust: Trust, secret: bytes | None) -> None:
    if trust.upgraded:
        raise DeadLetter("signature", "an HMAC, and only signatures of Ed25519 count here")
    if secret is None:
        raise DeadLetter("signature", "an HMAC, and no secret to check it with")
    expected = sign_old(secret, record.key, record.value or b"")
    if not hmac.compare_digest(signature, expected):
        raise DeadLetter("signature", "the HMAC is not that of this secret and record")


@lru_cache(maxsize=256)
def _loaded(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))


def _message(installation: str, key: bytes | None, value: bytes) -> bytes:
    """Return what is signed; the length of the key keeps it apart from the value."""
    length = b"-" if key is None else b"%d" % len(key)
    head = b"\n".join((_CONTEXT, installation.encode(), length))
    return b"%b\n%b%b" % (head, key or b"", value)
