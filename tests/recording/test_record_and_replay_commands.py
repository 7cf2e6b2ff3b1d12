"""`streams record` and `streams replay` as a user meets them, without any server."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from kit.events import encode, record, view
from kit.keys import SECRET
from kit.recordings import TOPIC, busy_log, cluster_of, log_with
from kit.recordings import record as record_whole

from streams.cli import main
from streams.recording.manifest import load_manifest, save_manifest
from streams.recording.planning import Request
from streams.recording.reader import Recording
from streams.runtime.namespace import fingerprint
from streams.runtime.ports import Outgoing

CONFIG = Path(__file__).parents[2] / "config"
NOBODY = "127.0.0.1:1"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def streams(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Return the command line, run in this process: exit code, stdout, stderr."""
    for name in [name for name in os.environ if name.startswith("STREAMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STREAMS_CONFIG", str(CONFIG))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(logging.root, "handlers", [])  # a command's own go with the test

    def run(*words: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["streams", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    await record_whole(cluster_of(busy_log(1_500)), tmp_path / "incident")
    return tmp_path / "incident"


def test_inspect_shows_a_row_a_partition(streams: Callable[..., Ran], folder: Path) -> None:
    ran = streams("replay", "inspect", folder, "--output", "json")
    rows = orjson.loads(ran.out)
    assert ran.code == 0
    assert [row["partition"] for row in rows] == [0, 1, 2, 3]
    assert sum(row["records"] for row in rows) == Recording(folder).manifest.records
    assert "complete" in streams("replay", "inspect", folder).out


def test_verify_of_a_whole_recording_is_silent_and_gives_digests(
    streams: Callable[..., Ran], folder: Path
) -> None:
    ran = streams("replay", "verify", folder, "--output", "ndjson")
    rows = [orjson.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert all(len(row["digest"]) == 32 and row["invalid"] > 0 for row in rows)


def test_verify_of_a_damaged_one_is_one_line_and_exit_code_3(
    streams: Callable[..., Ran], folder: Path
) -> None:
    next(folder.rglob("segment-*")).unlink()
    ran = streams("replay", "verify", folder)
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 1
    assert "is missing" in ran.err


def test_every_fault_is_listed_where_there_are_many(
    streams: Callable[..., Ran], folder: Path
) -> None:
    for path in folder.rglob("segment-*"):
        path.unlink()
    ran = streams("replay", "verify", folder)
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 5
    assert ran.err.splitlines()[-1].endswith("is damaged: 4 faults")


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_no_recording_is_exit_code_1(
    streams: Callable[..., Ran], tmp_path: Path, command: str
) -> None:
    ran = streams("replay", command, tmp_path)
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)


@pytest.mark.parametrize("target", ["fold", "kafka"])
def test_a_damaged_recording_is_not_replayed(
    streams: Callable[..., Ran], folder: Path, target: str
) -> None:
    path = next(folder.rglob("segment-*"))
    path.write_bytes(path.read_bytes()[:-3])
    ran = streams("replay", folder, "--target", target, "--yes", "--brokers", NOBODY)
    assert (ran.code, ran.out) == (1, "")
    assert "is cut" in ran.err


def test_fold_prints_receipts_on_stdout_and_digests_on_stderr(
    streams: Callable[..., Ran], folder: Path
) -> None:
    ran = streams("replay", folder, "--target", "fold", "--output", "ndjson")
    receipts = [orjson.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 0
    assert len(receipts) > 50
    assert all({"id", "type", "rule", "action", "cause"} <= receipt.keys() for receipt in receipts)
    rows = orjson.loads(streams("replay", folder, "--target", "fold", "--output", "json").out)
    assert sum(row["receipts"] for row in rows) == len(receipts)
    for row in rows:
        assert f"digest {row['digest']}" in ran.err


def test_fold_says_that_a_part_is_not_the_whole(streams: Callable[..., Ran], folder: Path) -> None:
    ran = streams("replay", folder, "--target", "fold", "--where", "type=view", "--from", "+5s")
    assert ran.code == 0
    assert "a part of the log is folded" in ran.err


@pytest.mark.parametrize("words", [("--where", "type=nothing"), ("--from", "+9999h")])
def test_an_empty_selection_is_said_and_exit_code_3(
    streams: Callable[..., Ran], folder: Path, words: tuple[str, ...]
) -> None:
    ran = streams("replay", folder, "--target", "fold", *words)
    assert ran.code == 3
    assert "no record is selected" in ran.err


def test_fold_says_whose_policy_decides(
    streams: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(CONFIG, tmp_path / "config")
    plain = streams("replay", folder, "--target", "fold")
    assert plain.code == 0
    assert "of --config is not used" in plain.err
    ran = streams("replay", folder, "--target", "fold", "--config", tmp_path / "config")
    assert (ran.code, ran.out) == (1, "")
    assert "the policy is a record of the log" in ran.err


def test_another_secret_than_the_recorded_one_is_refused(
    streams: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(folder)
    manifest.secret = fingerprint(SECRET)
    save_manifest(folder, manifest)
    assert streams("replay", folder, "--target", "fold").code == 0
    monkeypatch.setenv("STREAMS_SECRET", "another secret, as long")
    for words in (("replay", folder, "--target", "fold"), ("replay", "diff", folder, folder)):
        ran = streams(*words)
        assert (ran.code, ran.out) == (1, "")
        assert "signed with another secret" in ran.err


def test_what_lies_about_in_the_folder_is_named_and_no_more(
    streams: Callable[..., Ran], folder: Path
) -> None:
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "at.json").write_bytes(b"{}")
    for words in (("verify", folder), (folder, "--target", "fold")):
        ran = streams("replay", *words)
        assert ran.code == 0
        assert "at.json: does not belong to the recording" in ran.err


@pytest.fixture
async def damaged_decisions(tmp_path: Path) -> Path:
    log = busy_log(300)
    log.create("decisions", 1)
    log.append(Outgoing("decisions", b"{}", partition=0))
    request = Request([TOPIC, "decisions"], to_end=True)
    folder = tmp_path / "both"
    await record_whole(cluster_of(log), folder, request)
    path = next((folder / "topics" / "decisions").rglob("segment-*"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    return folder


def test_damage_elsewhere_does_not_stop_the_fold_of_what_is_sound(
    streams: Callable[..., Ran], damaged_decisions: Path
) -> None:
    ran = streams("replay", damaged_decisions, "--target", "fold")
    assert ran.code == 0
    assert "topics/decisions/partition=0" in ran.err
    assert "(not needed here)" in ran.err
    ran = streams("replay", damaged_decisions, "--target", "kafka")
    assert (ran.code, "damaged" in ran.err) == (1, True)


@pytest.fixture
async def timeless(tmp_path: Path) -> Path:
    late = [record(b"{}", 0, -1), record(b"{}", 1, 253_402_300_800_000), record(b"{}", 2, 2**62)]
    await record_whole(cluster_of(log_with(late)), tmp_path / "late")
    return tmp_path / "late"


def test_times_that_no_calendar_has_are_shown_as_they_are(
    streams: Callable[..., Ran], timeless: Path
) -> None:
    ran = streams("replay", "inspect", timeless)
    assert (ran.code, f"to {2**62} ms" in ran.out) == (0, True)
    ran = streams("replay", "inspect", timeless, "--output", "json")
    assert orjson.loads(ran.out)[0]["first_time"] == "1969-12-31T23:59:59.999Z"


@pytest.fixture
async def less(tmp_path: Path) -> Path:
    """Return a recording that lacks the last partition of `folder`."""
    request = Request([TOPIC], offsets={(TOPIC, n): (0, None) for n in range(3)}, to_end=True)
    await record_whole(cluster_of(busy_log(1_500)), tmp_path / "less", request)
    return tmp_path / "less"


def test_diff_of_records_says_what_is_missing(
    streams: Callable[..., Ran], folder: Path, less: Path
) -> None:
    ran = streams("replay", "diff", folder, folder, "--records")
    assert (ran.code, "no difference" in ran.err) == (0, True)
    ran = streams("replay", "diff", folder, less, "--records", "--output", "json")
    lacking = sum(segment.records for segment in load_manifest(folder).of(TOPIC, 3))
    assert ran.code == 3
    assert f"lacks {lacking:,} of its own" in ran.err
    assert [row["only_one"] for row in orjson.loads(ran.out)] == [0, 0, 0, lacking]


def test_diff_names_the_first_receipt_and_why(
    streams: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.ndjson"
    whole.write_text(streams("replay", folder, "--target", "fold", "--output", "ndjson").out)
    assert streams("replay", "diff", folder, whole).code == 0
    lines = whole.read_text().splitlines(keepends=True)
    lost = tmp_path / "lost.ndjson"
    lost.write_text("".join(lines[:7] + lines[8:]))
    ran = streams("replay", "diff", whole, lost, "--output", "json")
    (said,) = orjson.loads(ran.out)
    assert ran.code == 3
    assert said["first"]["id"] == orjson.loads(lines[7])["id"]
    assert "only the first run decided here" in ran.err


def test_a_file_of_events_is_folded_like_a_recording(
    streams: Callable[..., Ran], tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(encode(view(f"e{n}")) for n in range(5)))
    ran = streams("replay", path, "--target", "fold", "--output", "json")
    assert sum(row["applied"] for row in orjson.loads(ran.out)) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed", "0"], "write a number above 0"),
        (["--speed", "fast"], "write a number above 0"),
        (["--rate", "x/s"], "is no rate"),
        (["--max-gap", "30"], "is no duration"),
        (["--from", "yesterday"], "is no time"),
        (["--where", "type"], "write NAME=TEXT"),
        (["--topic", "nope"], "has no topic nope; it has: interactions"),
    ],
)
def test_what_cannot_be_understood_is_one_line(
    streams: Callable[..., Ran], folder: Path, words: list[str], said: str
) -> None:
    target = "fold" if words[0] in ("--where", "--from", "--topic") else "kafka"
    ran = streams("replay", folder, "--target", target, "--brokers", NOBODY, *words)
    assert ran.code == (1 if words[0] == "--topic" else 2)
    assert said in ran.err.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "FOLDER", "--target", "kafka", "--yes"),
        ("record", "NEW", "--topic", TOPIC),
    ],
)
def test_brokers_that_do_not_answer_are_exit_code_4(
    streams: Callable[..., Ran], folder: Path, words: tuple[str, ...]
) -> None:
    named = {"FOLDER": folder, "NEW": folder.parent / "new"}
    ran = streams(*(named.get(word, word) for word in words), "--brokers", NOBODY)
    assert ran.code == 4
    assert not (folder.parent / "new").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("record", "x"),
        ("record", "x", "--resume", "--topic", "t"),
        ("record", "x", "--offsets", "t=1..2"),
        ("record", "x", "--topic", "u", "--offsets", "t:0=1..2"),
        ("record", "x", "--topic", "t", "--to", "earliest"),
        ("record", "x", "--topic", "t", "--slack", "5"),
        ("replay", "x"),
        ("replay", "x", "--target", "kafka", "--resume"),
        ("replay", "x", "--target", "kafka", "--accept", "all"),
    ],
)
def test_wrong_usage_is_exit_code_2(streams: Callable[..., Ran], words: tuple[str, ...]) -> None:
    assert streams(*words).code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("record",),
        ("replay",),
        ("replay", "inspect"),
        ("replay", "verify"),
        ("replay", "diff"),
    ],
)
def test_every_help_has_an_example(streams: Callable[..., Ran], words: tuple[str, ...]) -> None:
    ran = streams(*words, "--help")
    assert ran.code == 0
    assert "Example" in ran.out
