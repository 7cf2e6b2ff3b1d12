"""A password in an address appears in no output of any verb."""

from pathlib import Path

import pytest
from kit.command import CONFIG, Where, streams
from kit.keys import KEY, NEXT_KEY, SECRET, announce
from kit.servers import create_topics

from streams.cli import VERBS
from streams.settings import TOPICS, load_settings

PASSWORD = "hunter2"
URL = f"redis://app:{PASSWORD}@127.0.0.1:1/0"
CALLS: dict[str, list[str]] = {
    "keys": ["keys show", "keys add {public} --yes", "keys retire {public} --yes"],
    "demo": ["demo --seconds 1 --output json"],
    "config": ["config show", "config show --output json", "config check"],
    "doctor": ["doctor --output json"],
    "worker": ["--debug worker --metrics-port 0"],
    "publish": ["publish"],
    "topics": ["topics plan"],
    "events": ["events tail --no-follow"],
    "decisions": ["decisions tail --no-follow"],
    "video": ["video show v1", "--debug video show v1", "video explain v1"],
    "lag": ["lag list"],
    "dlq": ["dlq list", "dlq stats", "dlq reveals"],
    "erase": ["erase viewer u1"],
    "guarantee": ["guarantee"],
    "creator": ["creator list", "creator show c1"],
    "shares": ["shares"],
    "ads": ["ads report"],
    "policy": [
        "policy show",
        "policy history",
        "policy diff 1.1 1.2",
        "policy pin 1.1 --yes",
        "policy freeze prices --yes",
    ],
    "review": ["review list", "--debug review list"],
    "redis": ["redis plan", "redis plan --shards 2", "redis acl"],
    "counters": [
        *("counters verify", "counters snapshot", "counters move"),
        *("counters rebuild", "counters rebuild --yes"),
        f"counters repartition --partitions 4 --to-prefix b. --to-redis {URL}",
    ],
    "partition": ["partition skip 0 --offset 0 --by a --why b"],
    "record": ["record {tmp}/r --topic interactions --to now"],
    "replay": [f"replay {{tmp}}/r --target fold --redis {URL}"],
    "alerts": ["alerts export"],
    "dashboards": ["dashboards export"],
    "group": ["group list", "group show nobody", "group snapshot nobody", "group seek nobody"],
    "page": ["page --host 0.0.0.0 --token-file {tmp}/none"],
    "slice": [
        *("slice list", "slice show discover:cars", "slice words"),
        "slice freeze discover:cars --by a --note b --yes",
    ],
    "status": ["status", "status --output json"],
    "completion": ["completion bash"],
    "intake": ["intake --new-token android"],
    "schema": ["schema export", "schema export --format asyncapi"],
    "bench": [f"bench --events 1000 --redis {URL}"],
    "simulate": ["simulate --size 0.005 --regime scarce --contender ladder --processes 1"],
}


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    create_topics(brokers, {f"{unique}.{name}": {} for name in TOPICS}, 2)
    compacted = {
        f"{unique}.{name}": {"cleanup.policy": "compact"} for name in ("policies", "mix", "ledger")
    }
    create_topics(brokers, compacted)
    create_topics(brokers, {f"{unique}.dossiers": {"cleanup.policy": "compact"}}, 2)
    announce(brokers, load_settings(CONFIG, {"topic_prefix": f"{unique}."}, {}))
    return {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": 2, "redis": URL}


PRIVATE = "".join(KEY.pem().decode().splitlines()[1:-1])


def test_every_verb_is_called_here() -> None:
    assert CALLS.keys() >= VERBS.keys()


@pytest.mark.real
@pytest.mark.parametrize("call", [call for calls in CALLS.values() for call in calls])
def test_a_password_is_shown_by_no_verb(where: Where, call: str, tmp_path: Path) -> None:
    told = call.format(tmp=tmp_path, public=NEXT_KEY.public)
    done = streams(*told.split(), secret=SECRET.decode(), **where)
    for hidden in (PASSWORD, PRIVATE, "PRIVATE KEY", SECRET.decode()):
        assert hidden not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "call", ["config show", "config check", "doctor", "topics acls", "--debug lag list"]
)
def test_nor_is_that_of_kafka(call: str) -> None:
    login = {"sasl_mechanisms": "PLAIN", "sasl_username": "app", "password": PASSWORD}
    named = {f"kafka_{name}": text for name, text in login.items()}
    secured = {"kafka_security_protocol": "SASL_PLAINTEXT", **named}
    done = streams(*call.split(), brokers="127.0.0.1:1", redis="redis://127.0.0.1:1", **secured)
    assert PASSWORD not in done.stdout + done.stderr
    if call == "config show":
        assert "kafka.sasl.password" in done.stdout
    else:
        assert "Traceback" not in done.stderr or "--debug" in call


@pytest.mark.real
def test_a_rebuild_names_its_redis_without_the_password(where: Where) -> None:
    done = streams("counters", "rebuild", **where)
    assert "in redis://app:***@127.0.0.1:1/0" in done.stdout


@pytest.mark.parametrize("password", ["hun/ter2", "hun#ter2", "hun?ter2", "hun@ter2"])
def test_nor_is_one_that_should_have_been_escaped(password: str) -> None:
    done = streams("video", "show", "v1", redis=f"redis://app:{password}@127.0.0.1:1/0")
    assert done.returncode in {2, 4}
    assert "hun" not in done.stderr
    assert "ter2" not in done.stderr
