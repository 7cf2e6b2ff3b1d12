import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kit.command import Where, environment, streams

GOLDEN = (Path(__file__).parents[1] / "data" / "obd" / "random_men.ndjson").read_text()


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    where = {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": 2}
    assert streams("topics", "apply", "--yes", **where).returncode == 0
    return where


def test_a_broker_that_does_not_answer_ends_with_4() -> None:
    done = streams("publish", "--brokers", "127.0.0.1:1", stdin=GOLDEN)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


@pytest.mark.parametrize("rate", ["0", "fast", "-1", "5/m"])
def test_a_rate_that_is_none_is_a_usage_error(rate: str) -> None:
    assert streams("publish", "--rate", rate).returncode == 2


@pytest.mark.real
def test_every_event_is_sent_and_the_summary_says_so(where: Where) -> None:
    done = streams("publish", "--output", "ndjson", stdin=GOLDEN, **where)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"topic": "uploads", "events": 34, "records": 34},
        {"topic": "interactions", "events": 400, "records": 400},
    ]
    assert done.stderr.startswith("434 events in ")


@pytest.mark.real
def test_an_invalid_line_stops_and_says_what_is_sent_and_where_to_go_on(where: Where) -> None:
    lines = GOLDEN.splitlines(keepends=True)
    done = streams("publish", stdin="".join([*lines[:9], '{"type":"hold"}\n', *lines[9:]]), **where)
    assert done.returncode == 3
    assert "line 10: signature: hold is a control record" in done.stderr
    assert "the 9 events before it are sent" in done.stderr
    assert "--from-line 10" in done.stderr
    rest = streams("publish", "--from-line", 10, "-", stdin=GOLDEN, **where)
    assert rest.stderr.startswith("425 events in ")


@pytest.mark.real
def test_arrays_and_gzip_are_published(where: Where, tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    array = "[" + ",".join(GOLDEN.splitlines()) + "]\n"
    path.write_bytes(gzip.compress(f"\ufeff{array}".encode()))
    done = streams("publish", path, "--output", "ndjson", "--rate", "1000000", **where)
    assert [json.loads(line)["events"] for line in done.stdout.splitlines()] == [34, 400]


@pytest.mark.real
def test_old_events_are_refused_when_the_broker_would_delete_them(where: Where) -> None:
    done = streams("publish", "--timestamps", "event", stdin=GOLDEN, **where)
    assert done.returncode == 3
    assert "the broker would delete it: publish with --timestamps now" in done.stderr


@pytest.mark.real
def test_missing_topics_are_named_before_anything_is_sent(brokers: str, unique: str) -> None:
    done = streams("publish", stdin=GOLDEN, brokers=brokers, topic_prefix=f"{unique}.")
    assert done.returncode == 1
    assert f"no topic {unique}.uploads" in done.stderr
    assert "streams topics apply --yes" in done.stderr


@pytest.mark.real
def test_ctrl_c_finishes_what_was_read_and_says_where_to_go_on(where: Where) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "streams", "publish", "--batch", "100"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(where),
    ) as process:
        process.stdin.write(GOLDEN)
        process.stdin.flush()
        tail = [sys.executable, "-m", "streams", "events", "tail", "--from", "beginning"]
        arrived = subprocess.run(
            [*tail, "--limit", "400"],
            env=environment(where),
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
        assert len(arrived.stdout.splitlines()) == 400  # though the input is still open
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # within half a second: one
        assert process.wait(30) == 130
        assert "stopped after line 434; go on with --from-line 435" in process.stderr.read()
