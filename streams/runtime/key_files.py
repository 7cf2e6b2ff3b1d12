"""Private keys in files: made readable by their owner alone, read where people sign."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from streams.errors import Halt, Misconfigured
from streams.runtime.signing import SigningKey
from streams.settings import SIGNING_KEY_FILE

OWNER_ONLY: Final = 0o600


def new_key_file(path: Path) -> SigningKey:
    """Write a new private key to a file that only its owner reads; `Halt` if one is there."""
    key = SigningKey.fresh()
    try:
        write_private(path, key.pem())
    except FileExistsError:
        raise Halt(f"{path} is there already: a key is never overwritten") from None
    except OSError as error:
        raise Halt(f"cannot write {path}: {error.strerror}") from None
    return key


def write_private(path: Path, content: bytes) -> None:
    """Make a file that only its owner reads; durable. `OSError`, also if one is there."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, OWNER_ONLY)  # whatever the umask
        file.write(content)
        file.flush()
        os.fsync(handle)


def read_key_file(path: Path, named_by: str) -> SigningKey:
    """Return the key of a file; `Misconfigured` with what to do, `named_by` says who names it."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise Misconfigured(
            f"{named_by} names {path}, which cannot be read ({error.strerror}): "
            f"`streams keys new {path}` makes one"
        ) from None
    except TypeError:
        raise Misconfigured(f"{named_by} names {path}, which wants a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(
            f"{named_by} names {path}, which holds no private key of Ed25519 (PEM): "
            "`streams keys new FILE` makes one"
        )
    return SigningKey(key)


def given_signing_key(environment: Mapping[str, str] = os.environ) -> SigningKey | None:
    """Return the key of the file in STREAMS_SIGNING_KEY_FILE, None without one."""
    path = environment.get(SIGNING_KEY_FILE)
    return read_key_file(Path(path), SIGNING_KEY_FILE) if path else None


def load_signing_key(environment: Mapping[str, str] = os.environ) -> SigningKey:
    """Return the key that signs control records; `Misconfigured` with what to do without one."""
    key = given_signing_key(environment)
    if key is None:
        raise Misconfigured(
            f"{SIGNING_KEY_FILE} is not set: set it to the file of the private key that signs "
            "control records; `streams keys new FILE` makes one"
        )
    return key
