"""`streams worker` refuses a start that it cannot trust: one line, what to do, the exit code."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import redis
from kit.events import records_of, view
from kit.keys import INSTALLATION, announce
from kit.patience import PATIENCE_S
from kit.redises import client_of
from kit.rig import CONFIG, TABLE, Feed, Rig
from kit.servers import create_topic, delete_topic, lasting_ports, redis_server
from msgspec.structs import replace

START = ("worker", "--only", "feedback")


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=1)
    yield made
    made.stop()


def one_line(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """Return the one line that a refused start prints."""
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert (len(lines), done.returncode) == (1, code), done.stderr
    assert lines[0].startswith("streams: ")
    return lines[0]


def nowhere() -> Rig:
    """Return settings whose broker and Redis nobody serves."""
    broker, store = lasting_ports(2)
    return Rig(f"127.0.0.1:{broker}", f"redis://127.0.0.1:{store}/0", "none")


@pytest.mark.parametrize("file", ["", "/nowhere"])
def test_without_a_key_no_control_plane_starts_and_feedback_needs_none(file: str) -> None:
    for half in ([], ["--only", "control"]):
        line = one_line(nowhere().run("worker", *half, signing_key_file=file), 2)
        assert "STREAMS_SIGNING_KEY_FILE" in line
        assert "`streams keys new" in line
    assert "--brokers" in one_line(nowhere().run(*START, signing_key_file=file), 4)


def test_a_secret_of_old_that_is_too_short_is_refused() -> None:
    line = one_line(nowhere().run(*START, secret="too short"), 2)
    assert "STREAMS_SECRET holds a text shorter than 16 characters" in line


def test_no_broker_is_exit_code_4_and_names_the_option() -> None:
    assert "--brokers" in one_line(nowhere().run(*START), 4)


def test_a_broken_configuration_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "streams.toml").write_text("brokers = ")
    assert str(tmp_path) in one_line(nowhere().run(*START, config=tmp_path), 2)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    text = (CONFIG / "streams.toml").read_text("utf-8")
    (tmp_path / "streams.toml").write_text(f"flush_rowz = 3\n{text}")
    line = one_line(nowhere().run(*START, config=tmp_path), 2)
    assert "flush_rowz is not known: did you mean flush_rows?" in line


def test_a_setting_out_of_range_is_named() -> None:
    line = one_line(nowhere().run(*START, flush_rows=0), 2)
    assert "STREAMS_FLUSH_ROWS is 0: write a whole number from 1 on" in line


def test_a_folder_without_settings_says_how_to_name_one(tmp_path: Path) -> None:
    assert "--config" in one_line(nowhere().run(*START, config=tmp_path), 2)


def test_a_metrics_port_that_is_taken_gives_way_to_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first, _ = nowhere().run(*START, metrics_port=port).stderr.strip().splitlines()
    match = re.fullmatch(rf"streams: port {port} is taken; /metrics is at (\S+)", first)
    assert match is not None, first
    assert port < int(match[1].split(":")[2].split("/")[0]) < port + 100


@pytest.mark.real
async def test_both_halves_tell_how_they_stand_at_the_address_that_was_set(rig: Rig) -> None:
    rig.create_topics()
    (port,) = lasting_ports(1)
    worker = rig.worker(only=None, metrics_host="::1", metrics_port=port)
    await worker.says("running")
    await rig.until(lambda: answer(port, "/ready") == (200, {"ok": True, "reasons": []}), rig.logs)
    assert answer(port, "/health") == (200, {"ok": True, "reasons": []})
    text = page(port, "/metrics")[1]
    for series in (
        f'streams_bad_input_alarms_total{{partition="0",topic="{rig.log}"}} 0.0',
        'streams_control_events_total{outcome="handled",topic="uploads"} 0.0',
        "process_resident_memory_bytes",
    ):
        assert series in text
    async with Feed(rig) as feed:
        await feed.send(records_of([view("e1")]))
    await rig.caught_up()
    with client_of(rig.redis_url) as client:
        client.flushdb()
    await rig.until(lambda: "watermark_missing" in str(answer(port, "/ready")), rig.logs)
    status, told = answer(port, "/ready")
    assert (status, told["ok"]) == (503, False)
    assert "partition 0 is halted (watermark_missing): " in str(told["reasons"])
    assert answer(port, "/health")[0] == 200
    assert await worker.terminate() == 1


def answer(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Return status and verdict of a page on IPv6's loopback."""
    status, text = page(port, path)
    return status, json.loads(text)


def page(port: int, path: str) -> tuple[int, str]:
    """Return status and text of a page on IPv6's loopback."""
    client = HTTPConnection("::1", port, timeout=PATIENCE_S)
    client.request("GET", path)
    got = client.getresponse()
    status, text = got.status, got.read().decode()
    client.close()
    return status, text


@pytest.mark.real
def test_a_session_timeout_that_the_brokers_refuse_names_setting_and_bounds(rig: Rig) -> None:
    rig.create_topics()
    line = one_line(rig.run(*START, session_timeout_ms=10**9), 1)
    assert f"session_timeout_ms is {10**9}" in line
    assert "1000 to 1800000" in line


@pytest.mark.real
def test_no_redis_is_exit_code_4_and_names_the_option(rig: Rig) -> None:
    rig.create_topics()
    port = lasting_ports(1)[0]
    assert "--redis" in one_line(rig.run(*START, redis=f"redis://127.0.0.1:{port}/0"), 4)


@pytest.mark.real
def test_a_port_that_speaks_no_redis_is_no_redis(rig: Rig) -> None:
    rig.create_topics()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        assert "Redis" in one_line(rig.run(*START, redis=url), 4)


@pytest.mark.real
def test_a_redis_that_may_evict_is_refused_with_the_command_that_mends_it(rig: Rig) -> None:
    rig.create_topics()
    with redis_server("--maxmemory-policy", "allkeys-lru") as server:
        line = one_line(rig.run(*START, redis=server.url), 1)
    assert "CONFIG SET maxmemory-policy noeviction" in line


@pytest.mark.real
def test_missing_topics_are_refused_with_the_command_that_makes_them(rig: Rig) -> None:
    assert "streams topics apply" in one_line(rig.run(*START), 1)


@pytest.mark.real
def test_one_missing_topic_is_named(rig: Rig) -> None:
    rig.create_topics()
    delete_topic(rig.brokers, rig.letters)
    assert rig.letters in one_line(rig.run(*START), 1)


@pytest.mark.real
def test_a_compacted_log_is_refused(rig: Rig) -> None:
    rig.create_topics(interactions={"cleanup.policy": "compact"})
    line = one_line(rig.run(*START), 1)
    assert rig.log in line
    assert "compact" in line


@pytest.mark.real
def test_another_partition_count_is_refused(rig: Rig) -> None:
    rig.create_topics()
    line = one_line(rig.run(*START, partitions=8), 1)
    assert "1 partitions" in line
    assert "8" in line


@pytest.mark.real
def test_a_log_without_an_installation_is_refused_with_the_command_that_makes_it(rig: Rig) -> None:
    rig.create_topics()
    delete_topic(rig.brokers, f"{rig.prefix}policies")
    assert "streams topics apply" in one_line(rig.run(*START), 1)
    create_topic(rig.brokers, f"{rig.prefix}policies", config=TABLE)
    line = one_line(rig.run(*START), 1)
    assert "holds no installation" in line
    assert "streams topics apply --yes" in line


@pytest.mark.real
async def test_another_installation_than_that_of_the_counters_is_refused(rig: Rig) -> None:
    rig.create_topics()
    async with Feed(rig) as feed:
        await feed.send(records_of([view("e1")]))
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0
    announce(rig.brokers, rig.settings, replace(INSTALLATION, id="fedcba9876543210"))
    for half in ("feedback", "control"):
        line = one_line(rig.run("worker", "--only", half), 1)
        assert "differ in installation" in line
        assert "rebuild" in line
    announce(rig.brokers, rig.settings)
    assert rig.run("counters", "verify", "--output", "json").returncode == 0


@pytest.mark.real
async def test_the_stored_length_of_generations_counts_whatever_the_settings_say(rig: Rig) -> None:
    rig.create_topics()
    async with Feed(rig) as feed:
        await feed.send(records_of([view("e1")]))
        worker = rig.worker()
        await rig.caught_up()
        assert await worker.terminate() == 0
        again = rig.worker(generation_records=77)
        await feed.send(records_of([view("e2")]))
        await rig.caught_up()
    assert await again.terminate() == 0
    rig.assert_exact()


@pytest.mark.real
async def test_two_signals_at_once_are_one_orderly_end(rig: Rig) -> None:
    rig.create_topics()
    worker = rig.worker()
    await worker.says("running; Ctrl-C ends")
    for _ in range(2):
        worker.send(signal.SIGTERM)
    assert await worker.stopped() == 0


@pytest.mark.real
def test_a_topic_of_another_deployment_is_left_alone(rig: Rig) -> None:
    """Only topics with the prefix matter."""
    create_topic(rig.brokers, f"other-{rig.prefix}interactions", 3)
    rig.create_topics()
    with redis.Redis.from_url(rig.redis_url) as client:
        client.set("somebody:else", 1)
        assert "--redis" in one_line(rig.run(*START, redis="redis://127.0.0.1:1/0"), 4)
        assert client.get("somebody:else") == b"1"
