"""Whatever bytes a reader is given, from a topic, a store or a file: its own error, or none."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import NOW, record, view
from kit.keys import TRUST
from kit.letters import Post
from kit.recordings import busy_log, cluster_of, everything
from kit.recordings import record as recorded

from streams.client.lines import LineReader
from streams.client.validate import Validation
from streams.control.shares.traffic import TrafficTail
from streams.core.counters import decode_slice, decode_video
from streams.core.first_rows import load_first
from streams.core.generations import read_generations
from streams.core.keys import read_trust
from streams.core.receipts import Refusal
from streams.core.ticks import read_stored
from streams.errors import Halt, StreamsError
from streams.ops.decisions import ReceiptFilter, read_receipts
from streams.ops.events import events_of
from streams.ops.exploration import read_explored
from streams.ops.letters_shown import as_object
from streams.ops.masking import names_viewer
from streams.ops.reveals import HEADER as REVEALED
from streams.ops.reveals import Reveal, keep_reveal, read_reveals
from streams.ops.settled import HEADER as SETTLED
from streams.ops.settled import Settled
from streams.ops.shares import read_shares
from streams.ops.ticks_kept import read_ticks
from streams.ops.trace import sightings
from streams.recording.checkpoint import load_checkpoint
from streams.recording.foreign import opened
from streams.recording.reader import Recording
from streams.runtime.documents import from_stored, read_copy
from streams.runtime.installation import decode_installation
from streams.runtime.letters import PREFIX, read_letter, record_in
from streams.runtime.mixes import read_mix
from streams.runtime.ports import Outgoing, Record
from streams.runtime.signing import encode
from streams.runtime.waiting import read_waiting

DEEP: Final = b"[" * 5_000
"""Deeper than any parser follows."""


def changed(sample: bytes) -> st.SearchStrategy[bytes]:
    """Return ways to damage bytes: some changed, the end cut off, something in their middle."""
    places = st.integers(0, max(len(sample) - 1, 0))
    odd = st.sampled_from([b"\xff", b"\\ud800", b'"', DEEP, b"9" * 5_000, b"1e999", b"null", b""])

    def put(at: int, upto: int, what: bytes) -> bytes:
        return sample[:at] + what + sample[max(at, upto) :]

    return st.builds(put, places, places, odd | st.binary(max_size=9)) | st.binary(max_size=40)


def deep(sample: bytes) -> bytes:
    """Return a JSON array or object with one more element that nests without end."""
    more = b',"x":' if sample.endswith(b"}") else b","
    return sample[:-1] + more + DEEP + b"]" * len(DEEP) + sample[-1:]


# ---------------------------------------------------------------- rows and metas

ROW: Final = b"[2,[1,2,3],[0,0,0],[]]"
READERS: Final[dict[str, tuple[Callable[[bytes], object], bytes]]] = {
    "slice": (decode_slice, ROW),
    "video": (decode_video, b'["public",1,"cars",false]'),
    "first": (lambda raw: load_first("v1", {"video": raw, "discover:a": raw}), b"[1,2,3]"),
    "generations": (lambda raw: read_generations(raw, 100), b"[[0,100]]"),
    "keys": (read_trust, b'{"installation":"a","keys":[],"seq":1}'),
    "traffic": (read_stored, b"[0,0,[],[]]"),
}


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_a_stored_row_that_cannot_be_read_is_a_value_error(name: str, data: st.DataObject) -> None:
    read, sample = READERS[name]
    for raw in (data.draw(changed(sample)), deep(sample)):
        with suppress(ValueError):
            read(raw)


# ---------------------------------------------------------------- records of topics


@given(data=st.data())
def test_no_record_of_strangers_raises_in_a_tool(data: st.DataObject) -> None:
    samples = [encode(view("e1")), b"[" + encode(view("e1")) + b"]", b'{"fate":"discarded"}', DEEP]
    value = data.draw(st.sampled_from(samples).flatmap(changed) | st.none())
    names = [SETTLED, REVEALED, "x-redrive-count", "x-original-topic"]
    names += [f"{PREFIX}{name}" for name in ("topic", "partition", "offset", "refusals", "refused")]
    texts = st.sampled_from([b"1", b"interactions", b"[]", b"9" * 5_000]) | st.binary(max_size=9)
    headers = data.draw(st.lists(st.tuples(st.sampled_from(names), texts | st.none()), max_size=9))
    read_all(record(value, 3, headers=headers, key=data.draw(st.binary(max_size=4) | st.none())))


def read_all(one: Record) -> None:
    """Have every tool read a record."""
    for reveal in (True, False):
        json.dumps(list(events_of(one, reveal=reveal)))
    names_viewer(one.value, [text for _, text in one.headers], "u1")
    list(sightings(one, "e1"))
    Settled().note(one)
    read_copy(one)
    read_mix(one, TRUST)
    letter = read_letter(one)
    if letter is not None:
        record_in(letter, one)


@settings(max_examples=30)
@given(data=st.data())
async def test_no_letter_raises_in_the_verbs_of_letters(data: st.DataObject) -> None:
    post = Post()
    value = data.draw(changed(encode(view("e1"))))
    headers = [("x-redrive-count", data.draw(st.just(b"9" * 5_000) | st.binary(max_size=5)))]
    letter = post.refuse(value, [Refusal(0, 0, "json", "odd")], headers=headers)
    headers = list(letter.headers)
    at = data.draw(st.integers(0, len(headers) - 1))
    name, text = headers[at]
    headers[at] = (name, data.draw(changed(text or b"")))
    post.log.append(Outgoing("interactions.dlq", value, b"k", headers, 1))
    for kept in await post.letters(settled=True):
        for reveal in (True, False):
            json.dumps(as_object(kept, reveal=reveal))
        assert kept.rounds >= 0


@settings(max_examples=30)
@given(data=st.data())
async def test_what_is_no_receipt_and_no_reveal_is_passed_over(data: st.DataObject) -> None:
    sample = b'{"id":"v1.1","n":1,"video":"v1","type":"decision"}'
    bad = [data.draw(changed(sample)), deep(sample)]
    passed: list[Record] = []

    async def records() -> Any:
        for value in bad:
            yield record(value)

    assert [one async for one in read_receipts(records(), ReceiptFilter(), passed.append)] == []
    assert len(passed) == len(bad)
    post = Post()
    await keep_reveal(post.producer, post.settings, Reveal("a", "b", "c"))
    for value in bad:
        post.log.append(Outgoing("interactions.dlq", value, None, [(REVEALED, b"a")], 0))
    rows = await read_reveals(post.reader, post.cluster, post.settings, "earliest")
    assert len(rows) == 1


BROKEN: Final = (deep(b'{"partition":0}'), b'{"type":"\xff"}', DEEP, b"{}")


async def test_what_no_worker_wrote_into_the_traffic_stops_nobody_who_sums_it_up() -> None:
    post = Post()
    post.log.create("mix", 1)
    for value in BROKEN:
        post.log.append(Outgoing("traffic", value, b"0", partition=0))
    assert not (await read_ticks(post.reader, "traffic", 0)).ticks
    assert not await read_explored(post.reader, "traffic", [0], 0)
    assert await read_shares(post.reader, post.settings, 0, NOW)
    tail = TrafficTail(post.settings, 4)
    await tail.read(post.reader)
    assert not tail.take(0)


@pytest.mark.parametrize("value", BROKEN, ids=range(len(BROKEN)))
async def test_a_table_that_somebody_else_wrote_into_halts_with_one_line(value: bytes) -> None:
    post = Post()
    with pytest.raises(Halt, match="somebody else wrote it"):
        decode_installation(post.settings, value)
    post.log.create("waiting", 4)
    post.log.append(Outgoing("waiting", value, b"k", partition=0))
    with pytest.raises(Halt, match="somebody else wrote it"):
        await read_waiting(post.reader, post.settings)


def test_a_document_of_any_bytes_is_read_or_unreadable() -> None:
    for raw in (b'{"revision":' + b"9" * 5_000 + b',"dossier":{}}', DEEP, b"\xff", b""):
        from_stored(raw)


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of a small recording, by its path."""
    folder = tmp_path_factory.mktemp("bytes") / "r"
    asyncio.run(recorded(cluster_of(busy_log(40, 1)), folder))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@given(data=st.data())
def test_no_damage_to_a_recording_is_more_than_its_own_error(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    hit = data.draw(st.sampled_from(sorted(files)))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.draw(changed(content)) if name == hit else content)
    with suppress(StreamsError):
        everything(Recording(folder))


SHAPES: Final = (
    b"{}",
    b"[]",
    b'{"format_version":2}',
    b'{"format_version":2,"segments":[1]}',
    b'{"format_version":2,"segments":{"a":1},"topics":[]}',
    b'{"format_version":2,"x":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"format_version":2,"x":1e400}',
    b'{"format_version":18446744073709551616}',
)


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_a_manifest_of_any_shape_is_refused_also_if_its_sum_is_right(
    tmp_path: Path, shape: bytes
) -> None:
    fields = json.loads(shape)
    with suppress(TypeError):
        spelled = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        if isinstance(fields, dict):
            fields["manifest_sha256"] = hashlib.sha256(spelled).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(Halt):
        Recording(tmp_path)


@given(data=st.data())
def test_no_checkpoint_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("checkpoint") / "file"
    sample = b'{"plan":"p","run_id":"r","positions":{"t":{"0":1}},"sent":1,"shift_ms":null}'
    file.write_bytes(data.draw(changed(sample)))
    with suppress(Halt):
        load_checkpoint(file)


KCAT: Final = (
    b'{"topic":"t","partition":0,"offset":1,"ts":5,"key":"k","payload":"{}","headers":["a","b"]}'
)
PACKED: Final = (bytes, gzip.compress, zstandard.compress)


@given(data=st.data())
def test_no_file_of_somebody_else_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("foreign") / "lines"
    lines = b"\n".join([KCAT, encode(view("e1")), deep(KCAT)][: data.draw(st.integers(1, 3))])
    packed = data.draw(st.sampled_from(PACKED))(data.draw(st.just(lines) | changed(lines)))
    file.write_bytes(data.draw(st.just(packed) | changed(packed)))
    with suppress(Halt), opened(file, full_name=str, partitions=2) as recording:
        everything(recording)
    with suppress(Halt):
        asyncio.run(lines_of(file))


async def lines_of(file: Path) -> list[bytes]:
    reader = LineReader.open(str(file), 1_000)
    validation = Validation(lambda: NOW, 1_000)
    return [
        refused.reason.encode()
        async for lines in reader.chunks()
        for line in lines
        for refused in validation.refusals(line)
    ]
