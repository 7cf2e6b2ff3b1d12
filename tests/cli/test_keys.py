"""`streams keys`: pairs of keys, and a rotation that no worker has to be told of."""

import json
import stat
from pathlib import Path

import pytest
from kit.command import Done, Where, streams
from kit.events import FIXED, hold, signed_record
from kit.keys import KEY, NEXT_KEY, NEXT_SIGNER, STRANGER, key_file
from kit.rig import Feed, Rig

from streams.runtime.key_files import read_key_file
from streams.runtime.signing import key_id


@pytest.fixture
def where(brokers: str, unique: str, fresh_redis_url: str) -> Where:
    return {
        "brokers": brokers,
        "topic_prefix": f"{unique}.",
        "partitions": 2,
        "redis": fresh_redis_url,
    }


def shown(where: Where) -> dict[str, str]:
    """Return the state of each key, by its id."""
    done = streams("keys", "show", "--output", "json", **where)
    assert done.returncode == 0, done.stderr
    return {row["key"]: row["state"] for row in json.loads(done.stdout)}


def one_line(done: Done, code: int) -> str:
    lines = done.stderr.strip().splitlines()
    assert (len(lines), done.returncode, done.stdout) == (1, code, ""), done.stderr
    return lines[0]


def test_a_new_pair_is_a_private_file_and_a_public_line(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    done = streams("keys", "new", path)
    key = read_key_file(path, "FILE")
    assert (done.returncode, done.stdout) == (0, f"{key.public}\n")
    assert key_id(key.public) in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = "".join(path.read_text().splitlines()[1:-1])
    assert private not in done.stdout + done.stderr
    assert "is there already" in one_line(streams("keys", "new", path), 1)
    again = streams("keys", "new", path, "--if-missing")
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")


@pytest.mark.parametrize("text", ["abc", "0" * 63, "g" * 64, "0" * 65])
def test_what_is_no_public_key_is_wrong_usage(text: str) -> None:
    done = streams("keys", "add", text)
    assert done.returncode == 2
    assert "64 hexadecimal digits" in done.stderr


def test_a_key_that_others_may_read_is_told_by_every_verb(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    streams("keys", "new", path)
    path.chmod(0o644)
    done = streams("config", "show", signing_key_file=path)
    assert f"chmod 600 {path}" in done.stderr


@pytest.mark.real
def test_a_new_installation_wants_a_key_and_is_made_once(where: Where) -> None:
    apply = ("topics", "apply", "--yes", "--output", "ndjson")
    refused = streams(*apply, signing_key_file="", **where)
    assert refused.returncode == 2
    assert "STREAMS_SIGNING_KEY_FILE is not set" in refused.stderr
    plan = streams("topics", "plan", "--output", "json", **where)
    assert {row["action"] for row in json.loads(plan.stdout)} == {"create"}, "nothing was done"
    made = streams(*apply, "--key", KEY.public, signing_key_file="", **where)
    assert made.returncode == 0, made.stderr
    assert "installation" in made.stderr
    again = streams(*apply, "--key", STRANGER.public, **where)
    assert "nothing to do" in again.stderr
    assert shown(where) == {key_id(KEY.public): "in force"}


@pytest.mark.real
def test_without_an_installation_keys_say_what_to_do(where: Where) -> None:
    for words in (("show",), ("add", NEXT_KEY.public), ("retire", "abc")):
        assert "streams topics apply --yes" in one_line(streams("keys", *words, **where), 1)


@pytest.mark.real
def test_only_a_key_in_force_brings_another_one_in(where: Where) -> None:
    streams("topics", "apply", "--yes", **where)
    words = ("keys", "add", NEXT_KEY.public, "--yes")
    assert "does not count" in one_line(streams(*words, signing_key_file=key_file(3), **where), 1)
    assert "is not set" in one_line(streams(*words, signing_key_file="", **where), 2)
    assert shown(where) == {key_id(KEY.public): "in force"}


@pytest.mark.real
async def test_a_rotation_needs_no_halt_and_no_word_to_a_worker(
    brokers: str, fresh_redis_url: str, unique: str
) -> None:
    rig = Rig(brokers, fresh_redis_url, unique, partitions=1)
    first, second = key_id(KEY.public), key_id(NEXT_KEY.public)
    try:
        rig.create_topics()
        worker = rig.worker(signing_key_file="")
        said = rig.run("keys", "add", NEXT_KEY.public)
        assert "act with --yes" in said.stderr
        assert second not in rig.run("keys", "show").stdout
        assert rig.run("keys", "add", NEXT_KEY.public, "--yes").returncode == 0
        by_next = {"signing_key_file": key_file(2)}
        assert "another one" in rig.run("keys", "retire", second, "--yes", **by_next).stderr
        assert rig.run("keys", "retire", first, "--yes", **by_next).returncode == 0
        rows = json.loads(rig.run("keys", "show", "--output", "json", **by_next).stdout)
        states = {row["key"]: (row["state"], row["own"]) for row in rows}
        assert states == {first: ("retired", False), second: ("in force", True)}
        async with Feed(rig) as feed:
            await feed.send([signed_record(FIXED, signer=NEXT_SIGNER), signed_record(hold())])
        await rig.caught_up()
        assert await worker.terminate() == 0
        letters = await rig.read(rig.letters)
        assert [dict(one.headers)["__streams.errors.reason"] for one in letters] == [b"signature"]
        assert "HALTED" not in worker.said()
        assert rig.run("counters", "verify").returncode == 0
    finally:
        rig.stop()
