"""`streams redis`: a plan for the slots of a cluster, and the users' rights."""

import json

import pytest
from kit.command import CONFIG, streams
from kit.redises import RedisNodes, redis_node


def test_a_plan_for_a_new_cluster_is_a_range_a_shard() -> None:
    done = streams("redis", "plan", "--partitions", 64, "--shards", 4, "--output", "json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [shard["planned"] for shard in plan["shards"]] == [16] * 4
    assert plan["shards"][0]["slots"].startswith("0-")
    assert len(plan["partitions"]) == 64
    shown = streams("redis", "plan", "--partitions", 4, "--shards", 2).stdout.splitlines()
    assert shown[0].split() == ["shard", "partitions", "planned", "slots"]
    assert "partition   slot  shard  planned" in shown


@pytest.mark.real
def test_a_plan_for_a_running_cluster_names_slots_to_move(redis_nodes: RedisNodes) -> None:
    args = ("redis", "plan", "--partitions", 6, "--redis", redis_nodes.url, "--output", "json")
    plan = json.loads(streams(*args).stdout)
    assert {shard["planned"] for shard in plan["shards"]} == {2}
    assert sum(shard["partitions"] for shard in plan["shards"]) == 6
    moved = {str(p["slot"]) for p in plan["partitions"] if p["shard"] != p["planned"]}
    assert moved == {slot for shard in plan["shards"] for slot in shard["slots"].split()}


def test_what_cannot_be_planned_is_one_line() -> None:
    few = streams("redis", "plan", "--partitions", 2, "--shards", 3)
    assert (few.returncode, few.stdout) == (2, "")
    assert few.stderr == "streams: 2 partitions cannot be spread over 3 shards\n"
    alone = streams("redis", "plan", "--redis", "redis://h")
    assert alone.returncode == 1
    assert alone.stderr.startswith("streams: this is the address of no cluster: name one with")


def test_the_rights_of_users_are_printed_as_they_are_shipped() -> None:
    printed = streams("redis", "acl").stdout
    assert printed == (CONFIG / "redis.acl").read_text("utf-8")
    assert all(" off " in line for line in printed.splitlines())


@pytest.mark.real
def test_a_verb_says_why_redis_cannot_be_used() -> None:
    with redis_node("--requirepass", "top") as node:
        url = f"redis://127.0.0.1:{node.port}"
        doctor = streams("doctor", "--output", "json", redis=url, brokers="127.0.0.1:1")
        told = {check["check"]: check["message"] for check in json.loads(doctor.stdout)}
        assert told["redis"].startswith(
            "Redis refuses this client: it wants a password: set STREAMS"
        )
        doctor = streams("doctor", "--output", "json", redis=url, redis_password="hunter2")
        told = {check["check"]: check["message"] for check in json.loads(doctor.stdout)}
        assert told["redis"].startswith("Redis refuses this client: the user or the password is")
