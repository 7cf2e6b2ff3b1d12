import json
import shutil
from pathlib import Path

import pytest
import redis as redis_client
from kit.command import CONFIG, Done, Where, streams
from kit.keys import KEY, key_file

from streams.embedded import EmbeddedRedis
from streams.runtime.signing import key_id

AWAY = {"brokers": "127.0.0.1:1", "redis": "redis://127.0.0.1:1"}


def statuses(done: Done) -> list[tuple[str, str]]:
    return [(row["check"], row["status"]) for row in json.loads(done.stdout)]


@pytest.fixture
def where(brokers: str, unique: str, fresh_redis_url: str) -> Where:
    return {
        "brokers": brokers,
        "topic_prefix": f"{unique}.",
        "partitions": 2,
        "redis": fresh_redis_url,
    }


def test_what_does_not_answer_is_told_and_ends_with_4() -> None:
    done = streams("doctor", "--output", "json", **AWAY)
    assert done.returncode == 4
    found = dict(statuses(done))
    assert (found["kafka"], found["redis"]) == ("unreachable", "unreachable")
    assert found["slices.toml"] == "ok"
    assert "no answer: kafka, redis" in done.stderr


def test_files_are_checked_though_the_settings_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "streams.toml").write_text("brokers = 7\n")
    done = streams("doctor", "--config", tmp_path, "--output", "json")
    assert done.returncode == 1
    failing = [name for name, status in statuses(done) if status == "fail"]
    files = ["taxonomy.toml", "slices.toml", "policy.toml", "review.toml", "streams.toml"]
    assert failing == files


def test_a_policy_that_no_worker_would_take_fails(tmp_path: Path) -> None:
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text("utf-8").replace("factor = 3", "factor = 1"), "utf-8")
    done = streams("doctor", "--config", tmp_path, "--output", "json", **AWAY)
    assert dict(statuses(done))["policy.toml"] == "fail"
    assert "growth.factor is 1: write a whole number from 2 to 100" in done.stdout


def test_no_key_is_a_warning_and_one_that_is_none_fails(tmp_path: Path) -> None:
    done = streams("doctor", "--output", "json", signing_key_file="", **AWAY)
    assert dict(statuses(done))["signing key"] == "warn"
    assert "STREAMS_SIGNING_KEY_FILE is not set" in done.stdout
    (tmp_path / "key").write_text("no key")
    done = streams("doctor", "--output", "json", signing_key_file=tmp_path / "key", **AWAY)
    assert dict(statuses(done))["signing key"] == "fail"
    assert "streams keys new FILE" in done.stdout


def test_a_secret_of_old_is_judged_where_one_is_set() -> None:
    done = streams("doctor", "--output", "json", secret="short", **AWAY)
    assert dict(statuses(done))["secret"] == "fail"
    assert "secret" not in dict(statuses(streams("doctor", "--output", "json", **AWAY)))


@pytest.mark.real
def test_missing_topics_fail_and_applied_ones_are_well(where: Where) -> None:
    before = streams("doctor", "--output", "json", **where)
    assert before.returncode == 1
    assert dict(statuses(before))[f"topic {where['topic_prefix']}uploads"] == "fail"
    streams("topics", "apply", "--yes", **where)
    after = streams("doctor", "--output", "json", **where)
    assert after.returncode == 0, after.stdout
    found = {row["check"]: row for row in json.loads(after.stdout)}
    checks = ("topics", "installation", "signing key", "counters")
    assert {found[name]["status"] for name in checks} == {"ok"}
    assert key_id(KEY.public) in found["installation"]["message"]


@pytest.mark.real
def test_a_key_that_does_not_count_here_fails(where: Where) -> None:
    streams("topics", "apply", "--yes", **where)
    done = streams("doctor", "--output", "json", signing_key_file=key_file(3), **where)
    assert done.returncode == 1
    assert dict(statuses(done))["signing key"] == "fail"
    assert "does not count in installation" in done.stdout


@pytest.mark.real
def test_a_redis_that_may_evict_fails(where: Where) -> None:
    streams("topics", "apply", "--yes", **where)
    with redis_client.Redis.from_url(where["redis"]) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done = streams("doctor", "--output", "json", **where)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert done.returncode == 1
    assert ("redis", "fail") in statuses(done)
    assert "CONFIG SET maxmemory-policy noeviction" in done.stdout


def test_redis_is_reached_with_the_password_of_a_file_that_nothing_prints(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/w:rd\n", "utf-8")
    with EmbeddedRedis() as server, redis_client.Redis.from_url(server.url) as client:
        client.config_set("requirepass", "p@ss/w:rd")
        reached = AWAY | {"redis": server.url}
        refused = streams("doctor", "--output", "json", **reached)
        named = reached | {"redis_password_file": tmp_path / "password"}
        done = streams("doctor", "--output", "json", **named)
    assert dict(statuses(refused))["redis"] == "fail"
    assert ("redis", "ok") in statuses(done)
    assert "p@ss" not in done.stdout + done.stderr
