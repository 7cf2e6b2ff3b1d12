"""A worker process on a real broker and Redis: every kind of bad input, codecs, transactions."""

import json
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from kit.events import (
    FIXED,
    FOOTBALL,
    NOW,
    Logged,
    admit,
    impression,
    interaction_record,
    like,
    policy,
    record,
    signed_record,
    synthetic_log,
    takedown,
    videos_of,
    view,
)
from kit.headers import send_with_raw_name
from kit.keys import INSTALLATION, KEY, STRANGER
from kit.rig import Feed, Rig

from streams.errors import REJECT_REASONS
from streams.runtime.letters import read_letter
from streams.runtime.ports import Record
from streams.runtime.signing import Signer, encode

pytestmark = pytest.mark.real

GOOD: dict[str, Any] = {
    "type": "view",
    "id": "e1",
    "video": "v1",
    "viewer": "u1",
    "slice": FOOTBALL,
    "ts": NOW,
    "watch_ms": 5_000,
    "duration_ms": 10_000,
}


def spelled(**changes: Any) -> bytes:
    """Return a view with some fields changed, or left out where the change is `...`."""
    fields = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    return json.dumps(fields, ensure_ascii=False).encode()


def raw(field: str, text: str) -> bytes:
    """Return a view in which one field is spelled `text`, whatever that is."""
    whole = spelled(**{field: "@@"})
    return whole.replace(b'"@@"', text.encode())


WHOLE = spelled()
DEEP = 100_000

ROWS: list[tuple[str, bytes | None, str]] = [
    ("null value", None, "tombstone"),
    ("empty", b"", "empty"),
    ("white space", b" \t\r\n", "empty"),
    ("null", b"null", "not_object"),
    ("an empty array", b"[]", "not_object"),
    ("a string", b'"x"', "not_object"),
    ("a number", b"1", "not_object"),
    ("truncated", WHOLE[:-9], "json"),
    ("truncated array", b"[" + WHOLE, "json"),
    ("trailing garbage", WHOLE + b"x", "json"),
    ("two documents", WHOLE + WHOLE, "json"),
    ("byte order mark", b"\xef\xbb\xbf" + WHOLE, "json"),
    ("UTF-16", WHOLE.decode().encode("utf-16"), "json"),
    ("not UTF-8 in an id", WHOLE.replace(b'"e1"', b'"\xff"'), "utf8"),
    ("not UTF-8 in an unknown field", WHOLE[:-1] + b',"\xff":1}', "utf8"),
    ("lone surrogate", WHOLE.replace(b'"e1"', b'"\\ud800"'), "json"),
    ("NUL in an id", spelled(id="e\0"), "id"),
    ("line break in an id", spelled(id="e\r\nFLUSHALL\r\n"), "id"),
    ("newline at the end of an id", spelled(id="e1\n"), "id"),
    ("hash tag in an id", spelled(video="{b1}"), "id"),
    ("separator in an id", spelled(viewer="a:b:c"), "id"),
    ("65 characters", spelled(id="e" * 65), "id"),
    ("a quarter of a megabyte", spelled(id="e" * (1 << 18)), "id"),
    ("homoglyph", spelled(id="\u0435vent"), "id"),
    ("empty id", spelled(id=""), "id"),
    ("no id", spelled(id=...), "missing"),
    ("no viewer", spelled(viewer=...), "missing"),
    ("no video", spelled(video=...), "missing"),
    ("no type", spelled(type=...), "missing"),
    ("2.0 for an integer", raw("watch_ms", "2.0"), "type"),
    ("2e0 for an integer", raw("watch_ms", "2e0"), "type"),
    ("2.5 for an integer", raw("watch_ms", "2.5"), "type"),
    ("400 digits", raw("watch_ms", "9" * 400), "range"),
    ("a number as text", spelled(watch_ms="2"), "type"),
    ("true as id", spelled(id=True), "type"),
    ("-1", spelled(watch_ms=-1), "range"),
    ("2^53", spelled(watch_ms=1 << 53), "range"),
    ("2^63", spelled(watch_ms=1 << 63), "range"),
    ("leading zero", raw("watch_ms", "02"), "json"),
    ("null id", spelled(id=None), "type"),
    ("an object as id", spelled(id={"$gt": 0}), "type"),
    ("NaN", raw("watch_ms", "NaN"), "json"),
    ("Infinity", raw("watch_ms", "Infinity"), "json"),
    ("watched a negative time", spelled(watch_ms=-5), "range"),
    ("watched for two days", spelled(watch_ms=172_800_000), "range"),
    ("no duration", spelled(duration_ms=0), "range"),
    ("type in capitals", spelled(type="VIEW"), "type_unknown"),
    ("unknown type", spelled(type="stare"), "type_unknown"),
    ("an array as type", spelled(type=["view"]), "type"),
    ("seconds", spelled(ts=NOW // 1_000), "ts"),
    ("microseconds", spelled(ts=NOW * 1_000), "ts"),
    ("time 0", spelled(ts=0), "ts"),
    ("negative time", spelled(ts=-1), "ts"),
    ("year 2101", spelled(ts=4_133_980_800_000), "ts"),
    ("single quotes", WHOLE.replace(b'"', b"'"), "json"),
    ("a comment", b"/* hi */" + WHOLE, "json"),
    ("trailing comma", WHOLE[:-1] + b",}", "json"),
    ("nested arrays", WHOLE[:-1] + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}", "depth"),
    (
        "nested objects",
        WHOLE[:-1] + b',"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        "depth",
    ),
    ("gzip", b"\x1f\x8b" + zlib.compress(WHOLE), "json"),
    ("Avro", b"\0\0\0\0\1" + WHOLE, "json"),
    ("from the future", spelled(ts=NOW + 600_000), "future"),
    ("no slice", spelled(slice="mars:people"), "slice"),
    ("above the size cap", spelled(note="x" * (1 << 20)), "too_large"),
    ("unsigned control record", encode(takedown()), "signature"),
    ("unsigned policy", encode(FIXED), "signature"),
]
COUNTED: list[tuple[str, bytes]] = [
    ("an unknown field", spelled(id="good-1", colour="red")),
    ("an escaped type", spelled(id="good-2").replace(b'"view"', b'"\\u0076iew"')),
    ("forty days late", spelled(id="good-3", ts=NOW - 40 * 86_400_000)),
]


class Sent(NamedTuple):
    """A record that was sent, and the reason it must be refused for, None for a good one."""

    record: Logged
    reason: str | None


def log_of_all_rows() -> list[Sent]:
    """Return every row with five good neighbours, in one partition."""
    sent: list[Sent] = []

    def good(number: int) -> None:
        event = view(f"n{number}", viewer=f"u{number}")
        sent.append(Sent(interaction_record(event), None))

    sent.append(Sent(signed_record(FIXED), None))
    sent.append(Sent(signed_record(admit()), None))
    for row, (name, value, reason) in enumerate([*ROWS, *((n, v, None) for n, v in COUNTED)]):
        for neighbour in range(3):
            good(row * 10 + neighbour)
        headers = [("trace", name.encode()), ("trace", b"\xff\0"), ("empty", b"")]
        sent.append(Sent(record(value, key=b"v1", headers=headers), reason))
        for neighbour in range(3, 6):
            good(row * 10 + neighbour)
    forged = signed_record(takedown(), signer=Signer(INSTALLATION.id, STRANGER))
    stale = signed_record(admit("admit-0", seq=1, commercial=True))
    sent += [
        Sent(forged, "signature"),
        Sent(signed_record(policy(seq=2, id="p2", version="p2")), None),
        Sent(signed_record(policy(seq=1, id="p3", version="p3")), "stale"),
        Sent(stale, None),  # a repeat: the same number again
    ]
    return sent


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=1)
    yield made
    made.stop()


@pytest.fixture
async def feed(rig: Rig) -> AsyncIterator[Feed]:
    rig.create_topics()
    async with Feed(rig) as made:
        yield made


def reason_of(letter: Record) -> str:
    return dict(letter.headers)["__streams.errors.reason"].decode()


def offset_of(letter: Record) -> int:
    return int(dict(letter.headers)["__streams.errors.offset"])


def test_the_table_has_every_reason_that_one_record_can_be_refused_for() -> None:
    others = {"misrouted", "slice_limit", "stale", "illegal_move", "header"}
    assert {row[2] for row in ROWS} == set(REJECT_REASONS) - others


async def test_each_bad_record_becomes_a_letter_and_its_neighbours_are_counted(
    rig: Rig, feed: Feed
) -> None:
    sent = log_of_all_rows()
    refused = {offset: one for offset, one in enumerate(sent) if one.reason is not None}
    assert len(refused) < len(sent) / 5
    await feed.send([one.record for one in sent])
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0

    letters = {offset_of(letter): letter for letter in await rig.read(rig.letters)}
    reasons = {offset: reason_of(letter) for offset, letter in letters.items()}
    assert reasons == {offset: one.reason for offset, one in refused.items()}
    for offset, letter in letters.items():
        original = refused[offset].record
        assert letter.value == original.value
        assert letter.key == original.key
        said = read_letter(letter)
        assert said is not None
        assert said.timestamp == original.timestamp < letter.timestamp
        given = len(original.headers)
        assert list(letter.headers[:given]) == list(original.headers)
        assert dict(letter.headers[given:])["x-original-topic"] == rig.log.encode()
    rig.assert_exact()
    assert "FLUSHALL" not in worker.said()


async def test_a_bad_element_does_not_cost_its_array_the_others(rig: Rig, feed: Feed) -> None:
    array = b"[" + b",".join([spelled(id="a1"), b'{"type":"view"}', spelled(id="a2")]) + b"]"
    fill = [interaction_record(impression(f"i{n}")) for n in range(20)]
    other = b"[1," + spelled(id="a3") + b"]"
    await feed.send([*fill, record(array), record(other)])
    rig.worker()
    await rig.caught_up()
    letters = await rig.read(rig.letters)
    assert [(reason_of(one), one.value) for one in letters] == [
        ("missing", array),
        ("not_object", other),
    ]
    rig.assert_exact()


async def test_a_video_in_another_ones_partition_is_a_letter(
    brokers: str, fresh_redis_url: str, unique: str
) -> None:
    rig = Rig(brokers, fresh_redis_url, unique, partitions=2)
    rig.create_topics()
    try:
        async with Feed(rig) as feed:
            at_home, elsewhere = videos_of(0, 2, 1)[0], videos_of(1, 2, 1)[0]
            good = [interaction_record(like(f"e{n}", video=at_home)) for n in range(10)]
            await feed.send([*good, interaction_record(like("lost", video=elsewhere))])
            rig.worker()
            await rig.caught_up()
        assert [reason_of(one) for one in await rig.read(rig.letters)] == ["misrouted"]
        rig.assert_exact()
    finally:
        rig.stop()


async def test_a_record_too_large_for_the_letters_stops_nothing(rig: Rig, feed: Feed) -> None:
    """Ten megabytes of zeros are a few hundred bytes on the wire; so may their letter not be."""
    bomb = record(spelled(note="0" * 10_000_000))
    good = [interaction_record(impression(f"i{n}")) for n in range(20)]
    await feed.send(good[:10])
    async with producing(rig, compression_type="zstd") as producer:
        await producer.send_and_wait(rig.log, bomb.value, key=b"v1", timestamp_ms=NOW)
    await feed.send(good[10:])
    rig.worker()
    await rig.caught_up()
    (letter,) = await rig.read(rig.letters)
    assert (reason_of(letter), offset_of(letter)) == ("too_large", 10)
    rig.assert_exact()


async def test_a_header_whose_name_is_not_text_is_a_letter_and_its_neighbours_are_counted(
    rig: Rig, tmp_path: Path
) -> None:
    events = [interaction_record(like(f"e{number}")).value for number in range(3)]
    rig.create_topics()
    await send_with_raw_name(rig.brokers, rig.log, 0, b"v1", events)
    rig.worker()
    await rig.caught_up()
    (letter,) = await rig.read(rig.letters)
    assert (reason_of(letter), offset_of(letter)) == ("header", 1)
    assert letter.value == events[1]
    assert dict(letter.headers)["\\xff\\xfecaf\\xe9"] == b"1"
    rig.assert_exact()
    for verb in (
        ("lag", "list"),
        ("events", "tail", "--from", "beginning", "--no-follow"),
        ("events", "sample"),
        ("record", str(tmp_path / "r"), "--topic", "interactions", "--to", "now"),
    ):
        done = rig.run(*verb)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


class producing:  # noqa: N801 - reads as what it does
    """A started producer of its own."""

    def __init__(self, rig: Rig, **options: Any) -> None:
        self._client = AIOKafkaProducer(
            bootstrap_servers=rig.brokers, max_request_size=64 << 20, **options
        )

    async def __aenter__(self) -> AIOKafkaProducer:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.stop()


async def test_batches_of_every_codec_are_read(rig: Rig, feed: Feed) -> None:
    log = synthetic_log(seed=5, events=300)
    quarter = len(log) // 4
    for place, codec in enumerate(("gzip", "snappy", "lz4", "zstd")):
        async with producing(rig, compression_type=codec, linger_ms=50) as producer:
            for one in log[place * quarter : (place + 1) * quarter]:
                await producer.send(
                    rig.log,
                    one.value,
                    key=one.key,
                    partition=0,
                    timestamp_ms=one.timestamp,
                    headers=list(one.headers),
                )
    rig.worker()
    await rig.caught_up()
    rig.assert_exact()


async def test_an_aborted_transaction_is_never_counted(rig: Rig, feed: Feed) -> None:
    async with producing(rig, transactional_id=f"{rig.prefix}tx") as producer:
        for number, kept in enumerate((True, False, True, False)):
            await producer.begin_transaction()
            for n in range(10):
                event = like(f"t{number}-{n}", viewer=f"u{number}-{n}")
                await producer.send(rig.log, encode(event), key=b"v1", timestamp_ms=NOW)
            await (producer.commit_transaction() if kept else producer.abort_transaction())
    await feed.send([interaction_record(impression("last"))])
    rig.worker()
    await rig.caught_up()
    rig.assert_exact()
    assert stored_of(rig, "v1", FOOTBALL)["likes"] == 20


async def test_an_open_transaction_holds_the_counters_until_it_ends(rig: Rig, feed: Feed) -> None:
    worker = rig.worker()
    await worker.says("assigned: partitions")
    async with producing(rig, transactional_id=f"{rig.prefix}tx") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(rig.log, encode(like("open")), key=b"v1", timestamp_ms=NOW)
        behind = [interaction_record(impression(f"behind{n}")) for n in range(5)]
        await feed.send(behind)
        with pytest.raises(AssertionError, match="wanted"):
            await rig.caught_up(patience_s=1)
        assert rig.watermarks() == {}
        await producer.commit_transaction()
    await rig.caught_up(gap=1)
    rig.assert_exact()


async def test_a_worker_without_any_secret_knows_whose_records_count(rig: Rig, feed: Feed) -> None:
    other = Signer("fedcba9876543210", KEY)
    forged = [signed_record(FIXED, signer=other), signed_record(admit(), signer=other)]
    await feed.send([*forged, signed_record(FIXED), signed_record(admit())])
    worker = rig.worker(signing_key_file="")
    await rig.caught_up()
    assert await worker.terminate() == 0
    letters = [reason_of(one) for one in await rig.read(rig.letters)]
    assert letters == ["signature", "signature"]
    assert await rig.receipts()


def stored_of(rig: Rig, video: str, slice_id: str) -> dict[str, int]:
    """Return a row as any Redis client in any language reads it: counters it lacks are 0."""
    import redis  # noqa: PLC0415 - this is about a bare client

    from streams.core.counters import COUNTERS  # noqa: PLC0415

    with redis.Redis.from_url(rig.redis_url) as client:
        raw_row: Any = client.hget(f"s:{{0}}:v:{video}", slice_id)
    _version, counters, *_distribution = json.loads(raw_row)
    return dict.fromkeys(COUNTERS, 0) | dict(zip(COUNTERS, counters, strict=False))
