"""What 0.1.0 wrote: its policy and admissions, signed as it signed, and a log that it began."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Final

from kit.events import (
    FANS,
    FOOTBALL,
    MUSIC,
    NOW,
    SHENYANG,
    WEIGHTS,
    Logged,
    record,
    release,
    signed_record,
    synthetic_log,
)
from kit.keys import SECRET
from streams.core.events import (
    ControlRecord,
    FirstAdmit,
    FirstPolicy,
    FirstRecord,
    FirstSlicePolicy,
    PartitionControl,
)
from streams.core.partition_control import Upgrade
from streams.core.state import Meta
from streams.recording.reader import Recording
from streams.runtime.memory.store import MemoryStore, StoredPartition
from streams.runtime.namespace import first_namespace
from streams.runtime.ports import TopicIdentity
from streams.runtime.signing import SIGNATURE, encode, sign_old

SPEC: Final = FirstSlicePolicy(
    reach=5_000,
    prior_mean=350_000,
    prior_variance=20_000,
    noise_variance=100_000,
    price=330_000,
    neighbours={MUSIC: 300_000},
)
FIRST_POLICY: Final = FirstPolicy(
    id="policy-0",
    ts=NOW,
    seq=1,
    version="first-1",
    weights=WEIGHTS,
    slices=dict.fromkeys((FOOTBALL, MUSIC, FANS, SHENYANG), SPEC),
    tranche=20,
    growth=3,
    top_stage=3,
    budget=2_000,
    widen_z=1_282_000,
    widen_used=500_000,
    nearly_used=800_000,
    noise_views=10,
    noise_floor=1_000,
    fit_value=50_000,
    ordinary_subsidy=10_000,
    commercial_price=1_500_000,
    late_after_ms=3_600_000,
)


def first_admit(video: str = "v1", seq: int = 1) -> FirstAdmit:
    """Return an admission to two crowds."""
    fits = {FOOTBALL: 700_000}
    return FirstAdmit(
        f"admit-{video}", video, NOW, seq, "ordinary", False, False, [FANS, FOOTBALL], fits
    )


def first_record(
    event: ControlRecord | FirstRecord, offset: int = 0, secret: bytes = SECRET
) -> Logged:
    """Return a control record as 0.1.0 signed it."""
    value = encode(event)
    key = None if isinstance(event, PartitionControl | FirstPolicy) else event.video.encode()
    header = (SIGNATURE, sign_old(secret, key, value))
    return record(value, offset, NOW, key=key, headers=[header])


UPGRADE: Final = Upgrade("upgrade-1", NOW)


def first_log() -> list[Logged]:
    """Return the log that 0.1.0 left among the golden files."""
    lines = (Path(__file__).parents[1] / "golden" / "first_log.ndjson").read_text("utf-8")
    log = []
    for line in map(json.loads, lines.splitlines()):
        key, value, headers = line["key"], line["value"], line["headers"]
        log.append(
            record(
                None if value is None else value.encode(),
                line["offset"],
                line["timestamp"],
                key=None if key is None else key.encode(),
                headers=[(name, text.encode()) for name, text in headers],
            )
        )
    return log


def upgraded_log(events: int = 600) -> list[Logged]:
    """Return that log with its upgrade, and what the same videos met behind it."""
    log = first_log()
    end = log[-1].offset + 1
    released = [release(f"released-v{n}", video=f"v{n}", seq=50) for n in range(10)]
    control = [signed_record(event, at) for at, event in enumerate([UPGRADE, *released], end)]
    later = [
        one._replace(offset=one.offset + end + len(control), timestamp=one.timestamp + 600_000)
        for one in synthetic_log(seed=11, videos=10, events=events)
    ]
    return [*log, *control, *later]


FIXTURE: Final = Path(__file__).parents[1] / "data" / "first"
"""An installation that 0.1.0 itself made, of two partitions; see `make.py` there."""
FIXTURE_GENERATION: Final = 150


def fixture_log(partition: int, topic: str = "interactions") -> list[Logged]:
    """Return what 0.1.0 recorded of a partition."""
    recording = Recording(FIXTURE / "recording")
    return [
        record(
            each.value,
            each.offset,
            each.timestamp,
            key=each.key,
            headers=[(name, text or b"") for name, text in each.headers],
            partition=partition,
        )
        for chunk in recording.chunks((topic, partition))
        for each in chunk
    ]


def fixture_store(identity: TopicIdentity) -> MemoryStore:
    """Return what 0.1.0 stored, of a topic that is restored under another identity."""
    store = MemoryStore()
    for partition in range(2):
        hashes = fixture_hashes(identity)
        meta = hashes[f"s:{{{partition}}}:meta"]
        store.partitions[partition] = StoredPartition(
            meta["namespace"],
            int(meta["watermark"]),
            Meta(int(meta["event_time"]), meta["digest"], meta["policy"].encode(), meta["mark"]),
            {
                key.rpartition(":")[2]: {name: text.encode() for name, text in fields.items()}
                for key, fields in hashes.items()
                if key.startswith(f"s:{{{partition}}}:v:")
            },
        )
    return store


def fixture_strings() -> dict[str, bytes]:
    """Return the strings of Redis by key, as Redis dumps them: what 0.1.0 knew of videos."""
    lines = (FIXTURE / "redis.ndjson").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "dump" in row]
    return {row["key"]: b64decode(row["dump"]) for row in rows}


def fixture_hashes(identity: TopicIdentity) -> dict[str, dict[str, str]]:
    """Return the hashes of Redis by key, as 0.1.0 would have stored them of this topic."""
    lines = (FIXTURE / "redis.ndjson").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "hash" in row]
    namespace = first_namespace(identity, FIXTURE_GENERATION, SECRET)
    return {
        row["key"]: row["hash"] | ({"namespace": namespace} if row["key"].endswith("meta") else {})
        for row in rows
    }
