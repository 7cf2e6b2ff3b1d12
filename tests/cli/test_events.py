import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kit.command import environment, streams
from kit.events import view
from kit.servers import create_topic, create_topics

from streams.runtime.signing import encode

DATA = Path(__file__).parents[1] / "data" / "obd"
LOG = DATA / "random_men.csv"
GOLDEN = (DATA / "random_men.ndjson").read_text()


def test_import_prints_the_golden_events() -> None:
    done = streams("events", "import", "--format", "obd", LOG)
    assert (done.returncode, done.stdout, done.stderr) == (0, GOLDEN, "")


def test_import_can_write_a_file(tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    done = streams("events", "import", "--format", "obd", LOG, "--out", out)
    assert (done.returncode, done.stdout, out.read_text()) == (0, "", GOLDEN)


def test_a_bad_row_stops_the_import_with_its_number(tmp_path: Path) -> None:
    lines = LOG.read_text().splitlines(keepends=True)
    bad = tmp_path / "x_men.csv"
    bad.write_text("".join([*lines[:3], "garbage\n", *lines[4:]]))
    done = streams("events", "import", "--format", "obd", bad)
    assert done.returncode == 3
    assert "row 3 (line 4): 1 fields, the header has 9; use --skip-bad" in done.stderr
    assert done.stderr.count("\n") == 1


def test_bad_rows_can_be_passed_over_and_are_counted(tmp_path: Path) -> None:
    lines = LOG.read_text().splitlines(keepends=True)
    bad = tmp_path / "x_men.csv"
    bad.write_text("".join([*lines, "garbage\n", "more\n"]))
    done = streams("events", "import", "--format", "obd", "--skip-bad", bad)
    assert (done.returncode, done.stdout) == (0, GOLDEN)
    assert "2 bad rows skipped, the first: row 201 (line 202)" in done.stderr


def test_a_log_of_another_format_is_told() -> None:
    done = streams("events", "import", "--format", "kuairand", LOG)
    assert done.returncode == 1
    assert "no column user_id" in done.stderr


def test_options_of_another_format_are_refused() -> None:
    done = streams("events", "import", "--format", "obd", "--tab", "1=discover:all", LOG)
    assert (done.returncode, "--format kuairand" in done.stderr) == (2, True)


def test_an_import_whose_reader_leaves_ends_in_peace() -> None:
    line = f"{sys.executable} -m streams events import --format obd {LOG} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


def test_kuairand_takes_features_and_tabs(tmp_path: Path) -> None:
    log, videos = tmp_path / "log.csv", tmp_path / "videos.csv"
    log.write_text(
        "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
        "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
        "is_profile_enter,is_rand,tab\n"
        "7,12,20220421,400,1650485801301,1,1,0,0,0,0,1,15024,104400,0,0,0,1,4\n"
    )
    videos.write_text("video_id,author_id,video_type,upload_dt,video_duration\n12,9,AD,,\n")
    arguments = ("--videos", videos, "--tab", "4=following:fans")
    done = streams("events", "import", "--format", "kuairand", log, *arguments)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["type"] for event in events] == ["upload", "impression", "view", "like"]
    assert (events[0]["creator"], events[0]["commercial"]) == ("kuairand-author-9", True)
    assert {event["slice"] for event in events[1:]} == {"following:fans"}


def test_validate_accepts_the_golden_events() -> None:
    done = streams("events", "validate", DATA / "random_men.ndjson")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "434 valid, 0 invalid\n"


def test_validate_names_each_bad_line_and_ends_with_3() -> None:
    done = streams("events", "validate", "-", "--output", "json", stdin=f"{GOLDEN}\n{{\n[]\n")
    assert done.returncode == 3
    assert [(row["line"], row["reason"]) for row in json.loads(done.stdout)] == [
        (436, "json"),
        (437, "not_object"),
    ]


def test_validate_takes_what_producers_have(tmp_path: Path) -> None:
    first, second, *_ = GOLDEN.splitlines()
    path = tmp_path / "events.ndjson.gz"
    nulls = {"hashtags": None, "metadata": {"place": [41.8, {"deep": 1.5}]}}
    upload = json.dumps(json.loads(first) | nulls)
    path.write_bytes(gzip.compress(f"\ufeff{upload}\n[{first},{second}]\n".encode()))
    done = streams("events", "validate", path)
    assert (done.returncode, done.stderr) == (0, "3 valid, 0 invalid\n")


def test_examples_are_valid_and_need_no_broker() -> None:
    examples = streams("events", "sample", "--example", brokers="127.0.0.1:1")
    assert examples.returncode == 0
    assert streams("events", "validate", stdin=examples.stdout).returncode == 0


def test_a_broker_that_does_not_answer_ends_with_4() -> None:
    done = streams("events", "tail", "--brokers", "127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


def test_a_start_that_cannot_be_read_is_told() -> None:
    done = streams("events", "tail", "--from", "yesterday", "--brokers", "127.0.0.1:1")
    refusal = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert refusal.startswith("Error: Invalid value for '--from': 'yesterday' is no time: write")


@pytest.mark.real
def test_a_policy_is_one_line_with_its_short_fields_first(brokers: str, unique: str) -> None:
    create_topic(brokers, f"{unique}.interactions", 1)
    policy = {"slices": {f"discover:{n}": {"reach": n} for n in range(900)}, "type": "policy"}
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(f"{unique}.interactions", json.dumps(policy | {"version": "p7"}).encode())
    assert producer.flush(30) == 0
    where = {"brokers": brokers, "topic_prefix": f"{unique}."}
    tail = ("events", "tail", "--from", "earliest", "--no-follow")
    [line] = streams(*tail, **where).stdout.splitlines()
    assert "discover:899" in line
    assert line.index("version=") < line.index("slices=")


@pytest.mark.real
def test_tail_and_sample_show_what_was_published(brokers: str, unique: str) -> None:
    where = {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": 2}
    assert streams("topics", "apply", "--yes", **where).returncode == 0
    assert streams("publish", "--batch", 20, stdin=GOLDEN, **where).returncode == 0
    tail = ("events", "tail", "--from", "beginning", "--no-follow")

    everything = streams(*tail, "--output", "ndjson", **where)
    rows = [json.loads(line) for line in everything.stdout.splitlines()]
    published = [event for line in GOLDEN.splitlines() if "slice" in (event := json.loads(line))]
    expected = [{**event, "viewer": "***"} for event in published]
    assert sorted((row["event"] for row in rows), key=str) == sorted(expected, key=str)

    views = streams(*tail, "--type", "view", "--video", "obd-men-14", "--output", "json", **where)
    found = json.loads(views.stdout)
    assert {(row["event"]["type"], row["event"]["video"]) for row in found} == {
        ("view", "obd-men-14")
    }
    assert len(streams(*tail, "--limit", 3, **where).stdout.splitlines()) == 3
    assert streams("events", "tail", "--from", "end", "--no-follow", **where).stdout == ""
    recent = streams("events", "tail", "--from", "-10m", "--no-follow", **where)
    assert len(recent.stdout.splitlines()) == len(expected)

    sample = ("events", "sample", "--topic", "uploads", "--seed", 1, "--output", "ndjson")
    named = ("--topic", f"{unique}.interactions", "--from", "1000000000000", "--no-follow")
    assert len(streams("events", "tail", *named, **where).stdout.splitlines()) == len(expected)

    chosen = [
        json.loads(row) for row in streams(*sample, "--count", 3, **where).stdout.splitlines()
    ]
    assert len({row["event"]["id"] for row in chosen}) == 3


@pytest.mark.real
def test_an_event_is_traced_to_what_became_of_it(
    brokers: str, fresh_redis_url: str, unique: str
) -> None:
    topic = f"{unique}.interactions"
    create_topics(brokers, {topic: {}, f"{topic}.dlq": {}})
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(topic, encode([view("e1"), view("e2")]), key=b"v1")
    assert producer.flush(30) == 0
    where = {"brokers": brokers, "redis": fresh_redis_url, "topic_prefix": f"{unique}."}
    done = streams("events", "trace", "e2", "--output", "ndjson", **where)
    row = json.loads(done.stdout)
    assert (row["element"], row["outcome"], row["video"]) == (1, "waiting", "v1")
    missing = streams("events", "trace", "e3", "--video", "v1", **where)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "no event e3 in the log, nor in a letter" in missing.stderr
