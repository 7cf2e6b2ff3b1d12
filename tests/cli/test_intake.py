"""The verb: what it prints, where it may listen, and a POST that ends in a real log."""

import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.command import Where, environment, streams
from kit.patience import PATIENCE_S
from kit.servers import create_topic

from streams.client.examples import EXAMPLES
from streams.client.producers import Tokens, hash_of
from streams.core.words import Review
from streams.runtime.signing import encode
from streams.settings import TOPICS

BODY = b"\n".join(encode(event) for event in EXAMPLES if not isinstance(event, Review))


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    for name in TOPICS:
        create_topic(brokers, f"{unique}.{name}", 2)
    return {"brokers": brokers, "topic_prefix": f"{unique}."}


@contextmanager
def running(where: Where, *words: object) -> Iterator[str]:
    """Run the verb for the time of the block and give its address; it must end in order."""
    command = [sys.executable, "-m", "streams", "intake", "--port", "0", *map(str, words)]
    with subprocess.Popen(
        command, env=environment(where), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            address = re.search(r"http://\S+(?=;)", said)
            assert address is not None, said + process.stderr.read()
            yield address[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def post(address: str, token: str = "") -> int:
    headers = {"Content-Type": "application/x-ndjson"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(address, data=BODY, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return int(answer.status)


@pytest.mark.real
def test_posted_events_are_in_the_log_with_their_producers_name(
    where: Where, tmp_path: Path
) -> None:
    made = streams("intake", "--new-token", "android")
    token, _, table = made.stdout.partition("\n")
    (tmp_path / "tokens.toml").write_text(table, "utf-8")
    with running(where) as address:
        assert post(address) == 202
    with running(where, "--tokens", tmp_path / "tokens.toml", "--host", "0.0.0.0") as address:
        assert post(address, token) == 202
    sample = ("events", "tail", "--topic", "uploads", "--from", "earliest", "--no-follow")
    done = streams(*sample, "--output", "json", **where)
    assert done.stdout.count("example-upload") >= 2


def test_a_new_token_comes_with_the_line_that_lets_it_in() -> None:
    done = streams("intake", "--new-token", "android")
    token, _, table = done.stdout.partition("\n")
    assert Tokens(tomllib.loads(table)["producers"]).producer(token) == "android"
    assert hash_of(token) in table
    assert token not in table
    assert streams("intake", "--new-token", "android").stdout != done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--host", "0.0.0.0"), "only loopback without --tokens"),
        (("--host", "10.1.2.3"), "only loopback without --tokens"),
        (
            ("--tokens", "/nowhere.toml"),
            "cannot read /nowhere.toml: No such file or directory; see --tokens",
        ),
        (("--new-token", "a b"), "letters, digits"),
    ],
)
def test_what_is_not_safe_is_refused_with_one_line(words: tuple[str, ...], message: str) -> None:
    done = streams("intake", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.real
def test_a_port_that_is_taken_is_named_in_one_line(where: Where) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = streams("intake", "--port", port, **where)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"streams: cannot listen at 127.0.0.1:{port}: the port is taken; see --port"
    ]


def test_an_empty_file_of_tokens_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text("[producers]\n", "utf-8")
    for host in ("0.0.0.0", "127.0.0.1"):
        done = streams("intake", "--tokens", tmp_path / "tokens.toml", "--host", host)
        assert done.returncode == 2
        assert "write a table [producers]" in done.stderr
