"""`streams page` as an operator starts it."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from kit.command import Where, environment, streams
from kit.servers import lasting_ports


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        (b"short", "holds fewer than 32 characters"),
        (b"\xff" * 40, "UTF-8"),
    ],
)
def test_a_token_that_can_be_guessed_or_read_by_nobody_is_refused(
    tmp_path: Path, text: bytes | None, words: str
) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_bytes(text)
    done = streams("page", "--token-file", file)
    assert (done.returncode, words in done.stderr) == (2, True)


@pytest.mark.real
def test_it_answers_on_loopback_and_ends_in_order(brokers: str, redis_url: str) -> None:
    [port] = lasting_ports(1)
    where: Where = {"brokers": brokers, "redis": redis_url}
    command = [sys.executable, "-m", "streams", "page", "--port", str(port)]
    with subprocess.Popen(
        command, env=environment(where), stderr=subprocess.PIPE, text=True
    ) as page:
        assert page.stderr is not None
        said = page.stderr.readline()
        assert said == f"the page is at http://127.0.0.1:{port}; Ctrl-C ends\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/lag") as answer:
            assert b"<title>streams</title>" in answer.read()
        page.send_signal(signal.SIGINT)
        assert page.wait(20) == 0


@pytest.mark.real
def test_off_loopback_a_token_is_made_where_none_is_given(brokers: str, redis_url: str) -> None:
    [port] = lasting_ports(1)
    where: Where = {"brokers": brokers, "redis": redis_url}
    command = [sys.executable, "-m", "streams", "page", "--host", "0.0.0.0", "--port", str(port)]
    with subprocess.Popen(
        command, env=environment(where), stderr=subprocess.PIPE, text=True
    ) as page:
        assert page.stderr is not None
        assert page.stderr.readline().startswith("the token, until this process ends: ")
        assert "the page is at" in page.stderr.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/lag") as answer:
            assert answer.url.endswith("/login")
        page.send_signal(signal.SIGTERM)
        assert page.wait(20) == 0
