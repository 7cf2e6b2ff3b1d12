"""`streams demo` as people start it: a process of its own, nothing installed beside it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kit.patience import PATIENCE_S

from streams.core.receipts import ACTIONS

ROOT = Path(__file__).parents[2]


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "streams", "demo", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Read stderr until a line matches."""
    assert process.stderr is not None
    seen: list[str] = []
    for text in process.stderr:
        seen.append(text)
        if re.search(pattern, text):
            return text
    pytest.fail(f"no line like {pattern!r} in {seen}")


def ran(*arguments: str, **environment: str) -> tuple[int, str, str]:
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def missing(report: dict[str, Any], names: Sequence[str]) -> set[str]:
    return set(names) - report.keys()


@pytest.mark.slow
def test_thirty_seconds_show_everything_the_pipeline_is_for() -> None:
    code, out, err = ran("--seconds", "30", "--output", "json")
    assert code == 0, err
    report = json.loads(out)
    check_exact(report)
    check_whole(report)
    assert report["events"] >= 10_000
    assert report["shares"]["private"]["held"], report["shares"]
    assert report["shares"]["ordinary"]["held"], report["shares"]


def test_a_few_seconds_end_with_exact_counters_and_nothing_left() -> None:
    process = start("--seconds", "3", "--output", "json")
    port = re.search(r"redis://127.0.0.1:(\d+)", wait_for(process, "starting on Kafka"))
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    check_exact(json.loads(out))
    assert "Traceback" not in err
    assert port is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port[1])))


def check_exact(report: dict[str, Any]) -> None:
    """Require what holds of a run however short it is, and however slow the machine."""
    assert not missing(report, ["events", "decisions", "opened", "split", "counters", "lag"])
    assert report["events"] == report["sent"] > 0, "all is counted, refused or a repeat"
    assert report["invalid"] == 0
    assert list(report["decisions"]) == list(ACTIONS)
    assert {name: each["promised"] for name, each in report["shares"].items()} == {
        "private": 0.3,
        "ordinary": 0.7,
        "commercial": 0.15,
    }
    assert report["counters"]["differences"] == 0
    assert report["lag"] == 0
    assert report["halted"] == []


def check_whole(report: dict[str, Any]) -> None:
    """Require what a run shows that is long enough for every decision."""
    assert report["duplicates"] > 0
    assert min(report["decisions"].values()) >= 1
    assert report["opened"] >= 20 * report["reasons"]["admitted"]
    assert report["reasons"]["index_below_price"] >= 1
    assert report["counters"]["checked"] > 500


def test_ctrl_c_ends_it_in_order_with_the_summary() -> None:
    process = start(NO_COLOR="1")
    wait_for(process, "the viewers are here")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "counters compared with a second count of the log: all equal" in out
    assert "\x1b[" not in out
    assert "Traceback" not in err


def test_ctrl_c_before_the_seconds_are_over_is_an_interruption_and_all_four_decisions_stand() -> (
    None
):
    process = start("--seconds", "250", "--output", "json")
    wait_for(process, ", ".join(rf"[1-9]\d* {action}" for action in ACTIONS))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    report = json.loads(out)
    check_exact(report)
    assert min(report["decisions"].values()) >= 1
    assert "ended before its 250 s" in err


def test_without_its_configuration_it_says_what_to_name(tmp_path: Path) -> None:
    code, out, err = ran("--config", str(tmp_path))
    assert (code, out) == (2, "")
    greeting, error = err.splitlines()
    assert greeting.endswith("start here")
    assert "name its folder with --config" in error
