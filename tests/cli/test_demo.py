"""What the exit code of `streams demo` says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.demo_show import _judge
from streams.cli.wiring import drivers
from streams.errors import Halt
from streams.lab.demo.run import Play
from streams.runtime.signing import SigningKey
from streams.settings import load_settings

CONFIG = Path(__file__).parents[2] / "config"


def play(*, interrupted: bool = False, seconds: int | None = 30) -> Play:
    settings = load_settings(CONFIG, environment={})
    key = SigningKey.fresh()
    machine = drivers(settings)
    return Play(machine, settings, CONFIG, seconds, 1, key, print, interrupted=interrupted)


def report(differences: int | None = 0, halted: list[str] | None = None) -> dict[str, Any]:
    return {"counters": {"differences": differences}, "halted": halted or []}


def test_equal_counters_are_a_success() -> None:
    _judge(report(), play())


def test_a_log_cut_short_is_no_failure() -> None:
    _judge(report(differences=None), play())


def test_differences_are_exit_code_3() -> None:
    with pytest.raises(ConditionNotMet):
        _judge(report(differences=1), play(interrupted=True))


def test_a_halted_partition_is_a_failure_that_is_named() -> None:
    with pytest.raises(Halt, match="partition 3"):
        _judge(report(halted=["partition 3: corrupt"]), play())


def test_ctrl_c_is_an_interruption_only_of_a_run_with_an_end() -> None:
    _judge(report(), play(interrupted=True, seconds=None))
    with pytest.raises(Interrupted):
        _judge(report(), play(interrupted=True))


def test_the_first_line_stands_before_the_heavy_part_is_imported() -> None:
    heavy = "{'faust', 'aiokafka', 'redis', 'confluent_kafka', 'aiohttp'}"
    code = f"import sys, streams.cli.demo; sys.exit(str({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
