"""Tables as people and pipes get them, on whatever takes the output."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kit.command import environment, streams

from streams.cli.options import emit

NAME = "a.very.long.prefix.of.an.installation.interactions.dlq"
ROWS = [
    {"action": "change", "topic": NAME, "why": "retention.ms -1 -> 604800000 " * 5, "n": 1},
    {"action": "ok", "topic": "b", "why": None, "n": 1_000},
]
UPLOAD = {
    "type": "upload",
    "id": "u1",
    "video": "v1",
    "creator": "c1",
    "ts": 1_714_557_600_000,
    "duration_ms": 15_000,
}


def printed(code: str, columns: int, *, terminal: bool = False) -> str:
    """Return what a process prints that emits `ROWS`, to a pipe or a terminal."""
    line = f"from streams.cli.options import emit, emit_object; rows = {ROWS!r}; {code}"
    env = environment() | {"COLUMNS": str(columns)}
    if not terminal:
        command = [sys.executable, "-c", line]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", line], stdout=theirs, check=True, env=env)
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    return text


def test_a_piped_table_is_as_wide_as_it_is() -> None:
    lines = printed("emit(rows, 'table')", columns=40).splitlines()
    assert len(lines) == 3
    assert NAME in lines[1]
    assert "604800000 retention.ms" in lines[1]


def test_a_name_is_never_folded_on_a_terminal() -> None:
    lines = printed("emit(rows, 'table')", columns=40, terminal=True).splitlines()
    assert any(NAME in line for line in lines)
    assert len(lines) > 3  # words are


def test_a_terminal_too_narrow_has_the_last_columns_under_their_row() -> None:
    rows = [{"group": f"g{n}", "max_lag": 7, "owner": "w" * 10, "reason": None} for n in (1, 2)]
    lines = printed(f"emit({rows!r}, 'table')", columns=20, terminal=True).splitlines()
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert bare == [
        "group  max lag",
        "g1           7",
        f"    owner {'w' * 10}",
        "g2           7",
        f"    owner {'w' * 10}",
    ]


def test_lines_are_folded_between_words_on_a_terminal_alone() -> None:
    code = "from streams.cli.table import folded; print(folded('  #1 open 34 crowds: best\\n  a'))"
    assert printed(code, columns=14) == "  #1 open 34 crowds: best\n  a\n"
    lines = printed(code, columns=14, terminal=True).splitlines()
    assert lines == ["  #1 open 34", "      crowds:", "      best", "  a"]


def test_heads_are_folded_before_a_column_leaves_its_row() -> None:
    rows = [{"retention_used_ratio": 0.5, "why": "does not exist"}]
    lines = printed(f"emit({rows!r}, 'table')", columns=25, terminal=True).splitlines()
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]
    assert bare == ["retention", "     used", "    ratio  why", "      0.5  does not exist"]


def test_an_object_is_not_cut_either() -> None:
    assert f"topic name  {NAME}" in printed(
        f"emit_object({{'topic_name': {NAME!r}}}, 'table')", columns=20
    )


def test_nothing_is_a_dash_and_numbers_stand_to_the_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"n": None, "x": []}, {"n": 1_000, "x": "[red]y"}, {"n": None, "x": True}]
    emit(rows, "table")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["   n  x", "   -  -", "1000  [red]y", "   -  yes"]


def test_no_rows_are_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], "table")
    emit([], "json")
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("verb", ["events sample --example", "events validate"])
def test_a_full_disk_behind_stdout_is_one_line(verb: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "streams", *verb.split()],
            input="{\n" * 10_000,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment(),
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "streams: the output: No space left on device"
    assert "Traceback" not in done.stderr


def test_a_full_disk_behind_an_import_is_one_line() -> None:
    log = Path(__file__).parents[1] / "data" / "obd" / "random_men.csv"
    done = streams("events", "import", "--format", "obd", log, "--out", "/dev/full")
    assert (done.returncode, done.stderr) == (1, "streams: the output: No space left on device\n")


def test_a_console_that_lacks_characters_shows_their_escapes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams", "events", "sample", "--example"],
        capture_output=True,
        check=True,
        env=environment() | {"PYTHONIOENCODING": "cp1252"},
    )
    example = json.loads(done.stdout.splitlines()[0])
    assert example["title"] == "足球射门教学 how to shoot"
    assert done.stderr == b""


def test_a_file_that_cannot_be_opened_is_named_in_one_line(tmp_path: Path) -> None:
    done = streams("events", "validate", tmp_path / "none")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path / 'none'}: No such file" in done.stderr
