"""Keys and the installation of the tests: the same arguments give the same bytes."""

import functools
import tempfile
from pathlib import Path
from typing import Final

from confluent_kafka import Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from streams.core.keys import Trust, encode
from streams.core.state import FRESH, Meta
from streams.runtime.codec import Spelling
from streams.runtime.installation import Installation, installation_record
from streams.runtime.signing import Signer, SigningKey
from streams.settings import Settings

SECRET: Final = b"a secret of the tests, 32 bytes.."
"""What 0.1.0 signed with."""


def key_of(number: int) -> SigningKey:
    """Return a private key by its number."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")))


KEY: Final = key_of(1)
NEXT_KEY: Final = key_of(2)
"""What synthetic logs sign with in their second half."""
STRANGER: Final = key_of(3)
INSTALLATION: Final = Installation("0123456789abcdef", (KEY.public,), (KEY.public,), fresh=True)
OLD_INSTALLATION: Final = replace(INSTALLATION, fresh=False)
"""One whose log 0.1.0 began: HMACs count with `SECRET`, until an `upgrade` record."""
TRUST: Final[Trust] = INSTALLATION.trust()
OLD_TRUST: Final[Trust] = OLD_INSTALLATION.trust()
META: Final[Meta] = FRESH._replace(keys=encode(TRUST))
"""What a partition's fold begins with."""
OLD_META: Final[Meta] = FRESH._replace(keys=encode(OLD_TRUST))
SPELLING: Final = Spelling(1 << 20)
SIGNER: Final = Signer(INSTALLATION.id, KEY)
NEXT_SIGNER: Final = Signer(INSTALLATION.id, NEXT_KEY)


@functools.cache
def key_file(number: int = 1) -> Path:
    """Return a file with a private key that only we can read."""
    path = Path(tempfile.mkdtemp(prefix="streams-keys-")) / "signing.key"
    path.touch(0o600)
    path.write_bytes(key_of(number).pem())
    return path


def announce(brokers: str, settings: Settings, installation: Installation = INSTALLATION) -> None:
    """Write to `policies` which installation this is."""
    record = installation_record(settings, installation)
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(record.topic, record.value, record.key, partition=0)
    assert producer.flush(30) == 0
