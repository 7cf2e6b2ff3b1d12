"""What still holds a viewer, from the command line, on a real broker."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kit.command import streams
from kit.events import view

from streams.runtime.signing import encode

pytestmark = pytest.mark.real


def test_a_viewer_is_found_in_log_and_recording_with_the_time_it_goes(
    brokers: str, unique: str, tmp_path: Path
) -> None:
    where = {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": 2, "replication": 1}
    assert streams("topics", "apply", "--yes", **where).returncode == 0
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(f"{unique}.interactions", encode(view("e1", viewer="alice")), partition=1)
    assert producer.flush(30) == 0
    recording = tmp_path / "r"
    to_now = ("--topic", "interactions", "--to", "now")
    assert streams("record", recording, *to_now, **where).returncode == 0

    asked = ("erase", "viewer", "alice", "--recording", recording, "--output", "json")
    done = streams(*asked, **where)
    rows = {row["place"]: row for row in json.loads(done.stdout)}
    log = rows[f"{unique}.interactions"]
    assert (log["records"], rows[str(recording)]["records"]) == (1, 1)
    left = datetime.fromisoformat(log["gone_by"]) - datetime.fromisoformat(log["newest"])
    assert left == timedelta(days=14)  # seven, and a segment of Kafka's own seven
    assert rows[f"{unique}.uploads.dlq"]["records"] == 0
    assert "goes after 336 h, and up to 24 h more" in rows[f"{unique}.uploads.dlq"]["why"]
    assert done.returncode == 3
    assert f"still there: {unique}.interactions, {recording}" in done.stderr

    nobody = streams("erase", "viewer", "bob", "--output", "json", **where)
    assert (nobody.returncode, "nothing that was searched" in nobody.stderr) == (0, True)
