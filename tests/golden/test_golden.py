"""A small log as committed, and the very bytes that folding it gives.

A difference means that stored counters and sent receipts of real partitions would differ too. If
that is meant, write the files again, look at what changed, and say so with the change:

    PYTHONPATH=tests python tests/golden/test_golden.py
"""

import json
from collections import Counter
from pathlib import Path

import pytest
from kit.events import Logged, record, synthetic_log
from kit.folding import Folding, decoded
from kit.keys import OLD_META, OLD_TRUST, SECRET, SPELLING, TRUST

from streams.runtime.codec import Spelling, decode_log

HERE = Path(__file__).parent
GENERATION = 300


def log_line(logged: Logged) -> str:
    return json.dumps(
        {
            "offset": logged.offset,
            "timestamp": logged.timestamp,
            "key": None if logged.key is None else logged.key.decode(),
            "value": None if logged.value is None else logged.value.decode(),
            "headers": [[name, text.decode()] for name, text in logged.headers],
        }
    )


def logged(line: str) -> Logged:
    said = json.loads(line)
    key, value = said["key"], said["value"]
    return record(
        None if value is None else value.encode(),
        said["offset"],
        said["timestamp"],
        key=None if key is None else key.encode(),
        headers=[(name, text.encode()) for name, text in said["headers"]],
    )


def read_log(name: str = "log.ndjson") -> list[Logged]:
    return [logged(line) for line in (HERE / name).read_text("utf-8").splitlines()]


def folds_to(log: list[Logged], batch: int) -> tuple[bytes, bytes]:
    """What goes into the files: receipts a line each, and a summary of the rest."""
    done, places = Folding(GENERATION), decoded(log)
    for first in range(0, len(places), batch):
        done.fold(places[first : first + batch])
    done.flush()
    receipts, ticks, digest, rows = done.bytes()
    refused = Counter(said.reason for said in decode_log(log, TRUST, SPELLING).refusals)
    summary = {
        "digest": digest,
        "event_time": done.meta.event_time,
        "traffic": [raw.decode() for raw in (*ticks, done.meta.traffic)],
        "rows": sum(map(len, rows.values())),
        "outcomes": {" ".join(key): count for key, count in sorted(done.outcomes.items())},
        "rejected": dict(sorted(Counter(said.reason for said in done.rejected).items())),
        "refused": dict(sorted(refused.items())),
        "videos": {
            video: {name: json.loads(raw) for name, raw in sorted(fields.items())}
            for video, fields in sorted(rows.items())
        },
    }
    text = json.dumps(summary, indent=1)
    return b"".join(line + b"\n" for line in receipts), f"{text}\n".encode()


def test_the_committed_log_folds_to_the_committed_bytes() -> None:
    receipts, state = folds_to(read_log(), batch=50)
    assert receipts == (HERE / "receipts.ndjson").read_bytes()
    assert state == (HERE / "state.json").read_bytes()


def test_the_committed_log_gives_the_same_in_one_batch() -> None:
    assert folds_to(read_log(), batch=100_000) == folds_to(read_log(), batch=1)


@pytest.mark.parametrize("batch", [1, 50, 100_000])
def test_a_log_of_the_first_release_folds_to_the_bytes_that_it_wrote(batch: int) -> None:
    """Rows and receipts as 0.1.0 itself left them; its digests were made another way."""
    spelling = Spelling(1 << 20, SECRET)
    log, then = read_log("first_log.ndjson"), json.loads((HERE / "first_state.json").read_bytes())
    done, places = Folding(GENERATION, meta=OLD_META), decoded(log, spelling, OLD_TRUST)
    for first in range(0, len(places), batch):
        done.fold(places[first : first + batch])
    receipts, *_, rows = done.flush().bytes()
    refused = Counter(each.reason for each in decode_log(log, OLD_TRUST, spelling).refusals)
    assert refused == then["refused"]
    assert Counter(each.reason for each in done.rejected) == then["rejected"]
    assert {" ".join(key): count for key, count in done.outcomes.items()} == then["outcomes"]
    assert done.meta.event_time == then["event_time"]
    assert (
        b"".join(line + b"\n" for line in receipts) == (HERE / "first_receipts.ndjson").read_bytes()
    )
    assert {
        video: {name: json.loads(raw) for name, raw in fields.items()}
        for video, fields in rows.items()
    } == then["videos"]


def write() -> None:
    """Write the three files of today again."""
    log = synthetic_log(seed=2022, videos=10, events=2_000)
    lines = "".join(f"{log_line(each)}\n" for each in log)
    (HERE / "log.ndjson").write_text(lines, "utf-8")
    receipts, state = folds_to(read_log(), batch=50)
    (HERE / "receipts.ndjson").write_bytes(receipts)
    (HERE / "state.json").write_bytes(state)


if __name__ == "__main__":
    write()
