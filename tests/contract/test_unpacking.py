"""What a broker sent is taken apart whatever is in it: by our readers, and by Faust's."""

import asyncio
import re
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from kit.headers import ESCAPED_NAME, RAW_NAME, send_with_raw_name
from kit.patience import PATIENCE_S
from kit.servers import create_topic

from streams.control.agents import new_app
from streams.errors import DeadLetter
from streams.runtime import kafka
from streams.runtime.headers import require_names
from streams.runtime.kafka import KafkaConsumer, KafkaReader, background, unpacking
from streams.runtime.ports import Place, Record
from streams.settings import load_settings

VALUES = [b"a", b"b", b"c"]


class Raw(str):
    """A header's name that is written as bytes of its own."""

    __slots__ = ("name",)

    def __new__(cls, name: bytes) -> Self:
        made = super().__new__(cls, "x")
        made.name = name
        return made

    def encode(self, *_: str) -> bytes:
        return self.name


def batch(base: int, names: Sequence[bytes | None], codec: int) -> bytes:
    """Return a batch as a broker sends it, its records with one header each, or none."""
    built = _DefaultRecordBatchBuilderPy(2, codec, False, -1, -1, -1, 1 << 20)
    for number, name in enumerate(names):
        headers = [] if name is None else [(Raw(name), b"1")]
        assert built.append(number, number, b"k", b"%d" % (base + number), headers) is not None
    return struct.pack(">q", base) + bytes(built.build())[8:]


@pytest.mark.parametrize("codec", range(5), ids=["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("position", [10, 11, 12])
@pytest.mark.parametrize("wanted", [None, unpacking.as_sent])
def test_every_record_comes_once_whatever_the_codec_and_the_position(
    codec: int, position: int, wanted: object
) -> None:
    sent = batch(10, [b"a", RAW_NAME, None], codec) + batch(13, [None, b"b"], codec)
    sent += batch(15, [RAW_NAME], codec)
    records = fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(sent), None, position, None, wanted, True, 1
    )
    found = list(records)
    assert {type(record) for record in found} == {unpacking.Fetched if wanted else ConsumerRecord}
    assert [record.offset for record in found] == list(range(position, 16))
    assert [record.value for record in found] == [b"%d" % offset for offset in range(position, 16)]
    assert dict(found[-1].headers) == {ESCAPED_NAME: b"1"}
    assert records.next_fetch_offset == 16


def test_our_object_says_what_that_of_aiokafka_says_and_no_more() -> None:
    sent = batch(10, [b"a", None, RAW_NAME], 0)
    (theirs, ours) = (
        list(
            fetcher.PartitionRecords(
                TopicPartition("t", 3), fetcher.MemoryRecords(sent), None, 10, None, wanted, True, 1
            )
        )
        for wanted in (None, unpacking.as_sent)
    )
    names = unpacking.Fetched.__struct_fields__
    assert set(names) == {name for name in vars(Record) if not name.startswith("_")}
    assert [[getattr(record, name) for name in names] for record in ours] == [
        [getattr(record, name) for name in names] for record in theirs
    ]


def test_what_is_taken_in_parts_goes_on_where_it_stopped() -> None:
    sent = batch(10, [None] * 3, 4) + batch(13, [None] * 2, 4)
    records = fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(sent), None, 11, None, None, True, 1
    )
    parts = []
    for most in (2, 1, 9):
        parts.append([record.offset for _, record in zip(range(most), records, strict=False)])
        assert records.next_fetch_offset == min(parts[-1][-1] + 1, 15)
    assert parts == [[11, 12], [13], [14]]


def test_a_batch_with_a_wrong_checksum_is_corrupt_all_the_same() -> None:
    sent = bytearray(batch(0, [RAW_NAME], 0))
    sent[-1] ^= 1
    records = fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(bytes(sent)), None, 0, None, None, True, 1
    )
    with pytest.raises(Exception, match="CRC"):
        list(records)


def test_what_stands_before_a_damaged_batch_is_handed_out_first() -> None:
    sent = bytearray(batch(0, [None] * 3, 0) + batch(3, [None] * 2, 0))
    sent[-1] ^= 1
    place = TopicPartition("t", 0)
    before, behind = (
        fetcher.PartitionRecords(
            place, fetcher.MemoryRecords(bytes(sent)), None, position, None, None, True, 1
        )
        for position in (1, 3)
    )
    assert [record.offset for record in before] == [1, 2]
    with pytest.raises(Exception, match="CRC"):
        list(behind)


def test_a_fetch_that_unpacks_to_more_than_its_bound_goes_on_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES", 5)
    sent = batch(10, [None] * 4, 4) + batch(14, [None] * 2, 4)
    position, taken = 10, []
    while position < 16:
        records = fetcher.PartitionRecords(
            TopicPartition("t", 0), fetcher.MemoryRecords(sent), None, position, None, None, True, 1
        )
        taken.append([record.offset for record in records])
        position = records.next_fetch_offset
    assert taken == [[10, 11, 12], [13, 14, 15]]


def test_such_a_name_is_refused_and_any_other_is_not() -> None:
    require_names([("a", b""), ("été", b""), ("名", b"")])
    with pytest.raises(DeadLetter) as refused:
        require_names([("a", b""), (ESCAPED_NAME, b"")])
    assert refused.value.reason == "header"


@pytest.fixture
async def topic(brokers: str, unique: str) -> AsyncIterator[str]:
    create_topic(brokers, f"{unique}.uploads")
    await send_with_raw_name(brokers, f"{unique}.uploads", 0, b"v1", VALUES)
    return f"{unique}.uploads"


def judge(found: Sequence[Record]) -> None:
    assert [record.value for record in found] == VALUES
    assert [list(record.headers) for record in found] == [[], [(ESCAPED_NAME, b"1")], []]


@pytest.mark.real
async def test_the_reader_reads_on(brokers: str, topic: str) -> None:
    reader = KafkaReader(brokers)
    await reader.start()
    reader.assign({(topic, 0): 0})
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < len(VALUES):
            found += (await reader.fetch(200, 2)).get((topic, 0), [])
    await reader.stop()
    judge(found)


@pytest.mark.real
async def test_the_consumer_reads_on(brokers: str, topic: str) -> None:
    consumer = KafkaConsumer(brokers, topic, topic, 6_000)

    class Seeking:
        async def on_assigned(self, partitions: Sequence[int]) -> None:
            consumer.seek(dict.fromkeys(partitions, 0))

        async def on_revoked(self, _: Sequence[int]) -> None:
            pass

    await consumer.start(Seeking())
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < len(VALUES):
            found += (await consumer.fetch(200, 2)).get(0, [])
    await consumer.stop()
    judge(found)


@pytest.mark.real
async def test_the_control_plane_reads_on(brokers: str, topic: str) -> None:
    prefix = topic.removesuffix("uploads")
    given: Mapping[str, object] = {"brokers": brokers, "topic_prefix": prefix, "group": topic}
    found: list[Record] = []
    whole = asyncio.Event()

    async def handle(records: Sequence[Record]) -> bool:
        found.extend(records)
        if len(found) == len(VALUES):
            whole.set()
        return True

    async def from_the_start() -> Mapping[Place, int]:
        return {}

    settings = load_settings(Path("config"), given, {})
    app = new_app(settings, {"uploads": handle}, from_the_start, background)
    await app.start()
    async with asyncio.timeout(PATIENCE_S):
        await whole.wait()
    await app.stop()
    judge(found)


CONSUMER = re.compile(r"AIOKafkaConsumer[,(]\s*\*\*aiokafka_options")
READING = sorted(
    path.stem
    for path in Path(kafka.__file__).parent.glob("*.py")
    if CONSUMER.search(path.read_text("utf-8"))
)


def test_more_than_one_driver_reads() -> None:
    assert {"consumer", "probe", "reader"} <= set(READING)


@pytest.mark.parametrize("module", [*READING, "producer"])
def test_whoever_reads_takes_records_apart_so_and_whoever_only_writes_changes_nothing(
    module: str,
) -> None:
    source = (
        f"import streams.runtime.kafka.{module}; from aiokafka.consumer import fetcher; "
        "print(fetcher.MemoryRecords.__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    expected = "aiokafka" if module == "producer" else "streams.runtime.kafka.unpacking"
    assert done.stdout.startswith(expected)
