"""Private keys in files: made for their owner alone, refused in a line that says what to do."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from streams.errors import Halt, Misconfigured
from streams.runtime.key_files import (
    given_signing_key,
    load_signing_key,
    new_key_file,
    read_key_file,
)
from streams.settings import exposed_key_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signing.key"


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_new_key_is_its_owners_alone_and_comes_back(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = new_key_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path, "FILE").public == made.public
    assert exposed_key_file({"STREAMS_SIGNING_KEY_FILE": str(path)}) == []


def test_two_new_keys_differ(tmp_path: Path) -> None:
    assert new_key_file(tmp_path / "a").public != new_key_file(tmp_path / "b").public


def test_a_key_that_is_there_is_never_overwritten(path: Path) -> None:
    made = new_key_file(path)
    with pytest.raises(Halt, match="is there already"):
        new_key_file(path)
    assert read_key_file(path, "FILE").public == made.public


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Halt, match=r"cannot write .*No such file"):
        new_key_file(tmp_path / "none" / "key")


def test_a_key_that_others_may_read_is_told_with_the_command_that_mends_it(path: Path) -> None:
    new_key_file(path)
    path.chmod(0o640)
    [line] = exposed_key_file({"STREAMS_SIGNING_KEY_FILE": str(path)})
    assert f"chmod 600 {path}" in line


def other_kind() -> bytes:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def locked() -> bytes:
    key, how = Ed25519PrivateKey.generate(), BestAvailableEncryption(b"passphrase")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


@pytest.mark.parametrize("text", [b"", b"a secret of sixteen", b"\xff\x00", other_kind()])
def test_what_is_no_key_of_ed25519_says_how_to_make_one(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(
        Misconfigured, match=r"no private key of Ed25519 .*streams keys new"
    ) as error:
        read_key_file(path, "--resign")
    assert "--resign" in str(error.value)
    assert "sixteen" not in str(error.value)


def test_a_key_behind_a_passphrase_is_refused(path: Path) -> None:
    path.write_bytes(locked())
    with pytest.raises(Misconfigured, match="wants a passphrase"):
        read_key_file(path, "FILE")


def test_a_file_that_is_not_there_is_one_line(path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"`streams keys new {path}` makes one"):
        load_signing_key({"STREAMS_SIGNING_KEY_FILE": str(path)})


@pytest.mark.parametrize("environment", [{}, {"STREAMS_SIGNING_KEY_FILE": ""}])
def test_without_the_variable_there_is_no_key(environment: dict[str, str]) -> None:
    assert given_signing_key(environment) is None
    with pytest.raises(Misconfigured, match="STREAMS_SIGNING_KEY_FILE is not set"):
        load_signing_key(environment)
