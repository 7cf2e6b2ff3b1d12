"""Files that others wrote become recordings; what is neither is named with its line."""

import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from kit.events import FIXED, NOW, admit, encode, impression, view
from kit.keys import SIGNER
from kit.recordings import TOPIC, busy_log, cluster_of, everything, seen
from kit.recordings import record as record_whole

from streams.client.examples import EXAMPLES
from streams.client.intake import topic_of
from streams.core.partitioner import partition_of
from streams.errors import Halt
from streams.recording.damage import quick
from streams.recording.foreign import opened
from streams.recording.segments import read_frames
from streams.runtime.signing import control_record


def kcat_line(**changes: Any) -> Any:
    fields = {
        "topic": TOPIC,
        "partition": 1,
        "offset": 7,
        "tstype": "create",
        "ts": NOW,
        "broker": 0,
        "headers": ["a", "1", "b", "2", "a", "3"],
        "key": "v1",
        "payload": '{"type":"view"}',
    }
    return orjson.dumps(fields | changes)


def read(path: Path, partitions: Any = 4) -> Any:
    with opened(path, full_name=str, partitions=partitions) as recording:
        assert quick(recording) == []
        return recording.manifest, everything(recording)


def write(path: Path, *lines: Any) -> Any:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_kcat_lines_are_read_with_all_they_say(tmp_path: Path) -> None:
    path = write(
        tmp_path / "k", kcat_line(), kcat_line(offset=8, key=None, payload=None, headers=[])
    )
    manifest, (one, other) = read(path)
    assert (one.topic, one.partition, one.offset, one.timestamp) == (TOPIC, 1, 7, NOW)
    assert (one.key, one.value) == (b"v1", b'{"type":"view"}')
    assert list(one.headers) == [("a", b"1"), ("b", b"2"), ("a", b"3")]
    assert (other.key, other.value, list(other.headers)) == (None, None, [])
    assert manifest.topics[TOPIC].spans[1].start == 7


def test_what_kcat_says_is_not_there_is_not_there(tmp_path: Path) -> None:
    line = kcat_line(headers=["a", None, "a", "", None, "x"])
    _, (record,) = read(write(tmp_path / "k", line))
    assert list(record.headers) == [("a", None), ("a", b""), ("", b"x")]


@pytest.mark.parametrize(
    "payload", [b'{"type":"view","n":1.50}', b"[1, 2]", b"7", b"true", b'"{\\"a\\":1}"', b"null"]
)
def test_a_payload_may_stand_as_json(tmp_path: Path, payload: bytes) -> None:
    line = b'{"topic":"t","partition":0,"offset":1,"key":7,"payload":%b}' % payload
    _, (record,) = read(write(tmp_path / "k", line))
    expected = {b'"{\\"a\\":1}"': b'{"a":1}', b"null": None}.get(payload, payload)
    assert (record.key, record.value) == (b"7", expected)


def test_kcat_lines_of_many_partitions_are_sorted_out(tmp_path: Path) -> None:
    lines = [kcat_line(partition=n % 3, offset=n) for n in range(3_000)]
    _, records = read(write(tmp_path / "k", *lines))
    assert [(r.partition, r.offset) for r in records] == sorted((n % 3, n) for n in range(3_000))


def test_a_signed_policy_survives_kcat(tmp_path: Path) -> None:
    out = control_record(TOPIC, FIXED, SIGNER, 1)
    headers = [part for name, value in out.headers for part in (name, value.decode())]
    line = kcat_line(payload=out.value.decode(), key=None, headers=headers)
    _, (record,) = read(write(tmp_path / "k", line))
    assert (record.value, list(record.headers)) == (out.value, list(out.headers))


def test_plain_events_go_where_the_log_would_have_them(tmp_path: Path) -> None:
    events = [view(f"e{n}", video=f"v{n % 5}", ts=NOW + n) for n in range(20)]
    _, records = read(write(tmp_path / "e", *map(encode, events)))
    for number in range(4):
        own = [e for e in events if partition_of(e.video.encode(), 4) == number]
        found = [r for r in records if r.partition == number]
        assert [r.value for r in found] == [encode(event) for event in own]
        assert [r.offset for r in found] == list(range(len(own)))
        assert [r.timestamp for r in found] == [event.ts for event in own]


def test_uploads_and_reviews_go_to_topics_of_their_own(tmp_path: Path) -> None:
    lines = [
        b'{"type":"upload","id":"u1","video":"v1","creator":"c","ts":%d,"duration_ms":9}' % NOW,
        encode(view("e1", ts=NOW + 1)),
        b'{"type":"review","id":"r1","video":"v1","ts":%d,"verdict":"limit","by":"m"}' % NOW,
        b'{"type":"recognition","id":"g1","video":"v1","ts":%d,"source":"s","tags":[]}' % NOW,
        b'{"type":"upload","id":"u2","video":"v1","creator":"c","ts":%d,"duration_ms":9}' % NOW,
    ]
    path = write(tmp_path / "e", *lines)
    with opened(path, full_name=lambda name: f"p-{name}", partitions=4) as recording:
        records = everything(recording)
        counts = {name: topic.partitions for name, topic in recording.manifest.topics.items()}
    assert [(r.topic, r.offset, r.value) for r in records] == [
        ("p-interactions", 0, lines[1]),
        ("p-recognitions", 0, lines[3]),
        ("p-reviews", 0, lines[2]),
        ("p-uploads", 0, lines[0]),
        ("p-uploads", 1, lines[4]),
    ]
    assert {r.partition for r in records} == {partition_of(b"v1", 4)}
    assert set(counts.values()) == {4}


def test_what_waits_for_its_batch_is_bounded_in_bytes(tmp_path: Path) -> None:
    lines = [kcat_line(partition=n % 40, offset=n, payload="x" * 50_000) for n in range(1_200)]
    path = write(tmp_path / "k", *lines)
    tracemalloc.start()
    try:
        with opened(path, full_name=str, partitions=4) as recording:
            assert recording.manifest.records == 1_200
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_an_array_of_events_is_one_record(tmp_path: Path) -> None:
    line = encode([impression("e1"), view("e2", ts=NOW + 5)])
    _, (record,) = read(write(tmp_path / "e", line))
    assert (record.value, record.timestamp, record.key) == (line, NOW + 5, b"v1")


async def test_our_own_lines_are_read_plain_and_packed(tmp_path: Path) -> None:
    recording = await record_whole(cluster_of(busy_log(200)), tmp_path / "r")
    segment = sorted((tmp_path / "r").rglob("segment-*"))[2]
    plain = tmp_path / "plain.ndjson"
    plain.write_bytes(b"".join(frame.text for frame in read_frames(segment)))
    expected = [r for r in everything(recording) if r.partition == 2]
    for path in (segment, plain):
        assert seen(read(path)[1]) == seen(expected)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b""], "is empty"),
        ([b"hello"], "line 1: "),
        ([b"[1,2]"], "line 1: neither a line of a recording, nor of kcat"),
        ([b'{"a":1}'], "line 1: neither"),
        ([kcat_line(), b"{"], "line 2: "),
        ([kcat_line(), kcat_line(offset=6)], "offset 6 came twice"),
        ([kcat_line(), kcat_line(headers=["a"])], "line 2: "),
        ([kcat_line(partition=-1)], "no such partition"),
        ([encode(view()), b'{"type":"view","id":"x","ts":1}'], "line 2: the event has no 'video'"),
        ([encode(view()), b'{"type":"view","video":"x","ts":"soon"}'], "line 2: "),
        ([encode(view()), b"[]"], "line 2: "),
        ([encode(view()), b'{"type":"x","video":"v","ts":1}'], "line 2: unknown type 'x'"),
    ],
)
def test_what_is_neither_is_named_with_its_line(tmp_path: Path, lines: Any, said: str) -> None:
    path = write(tmp_path / "f", *lines)
    with pytest.raises(Halt, match=said) as raised:
        read(path)
    assert "\n" not in str(raised.value)


def test_a_broken_packed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f.zst"
    path.write_bytes(b"no zstd")
    with pytest.raises(Halt, match="is no whole zstd file"):
        read(path)


async def test_a_recording_is_opened_by_its_folder_or_its_manifest(tmp_path: Path) -> None:
    recording = await record_whole(cluster_of(busy_log(50)), tmp_path / "r")
    for path in (tmp_path / "r", tmp_path / "r" / "manifest.json"):
        assert seen(read(path)[1]) == seen(everything(recording))


def test_each_event_that_producers_write_goes_to_its_topic(tmp_path: Path) -> None:
    lines = [encode(event) for event in EXAMPLES]
    _, records = read(write(tmp_path / "e", *lines))
    assert sorted((record.topic, record.value) for record in records) == sorted(
        zip([topic_of(type(event)) for event in EXAMPLES], lines, strict=True)
    )


def test_unsigned_control_events_stay_unsigned(tmp_path: Path) -> None:
    _, (record,) = read(write(tmp_path / "e", encode(admit())))
    assert not record.headers
