"""`streams config` in folders with and without settings: what it prints, how it ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kit.command import Done, environment, streams

WELL_KNOWN = {"config": "", "signing_key_file": ""}


def ran(folder: Path, *arguments: str, **settings: object) -> Done:
    """Run a command in `folder`, with no more settings than given."""
    ours = {name: text for name, text in environment(WELL_KNOWN | settings).items() if text}
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        cwd=folder,
        env=ours | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rows(done: Done) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in json.loads(done.stdout)}


def test_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    command = ("config", "show", "--output", "json")
    shown = rows(ran(tmp_path, *command))
    assert {row["origin"] for row in shown.values()} == {"default"}
    assert ran(tmp_path, "config", "init").returncode == 0
    found = rows(ran(tmp_path, *command, "--brokers", "b:1", flush_rows=5))
    origins = {key: found[key]["origin"] for key in ("brokers", "flush_rows", "partitions")}
    assert origins == {"brokers": "option", "flush_rows": "environment", "partitions": "file"}
    assert (found["brokers"]["value"], found["flush_rows"]["value"]) == ("b:1", 5)


def test_init_makes_a_copy_once_and_check_accepts_it(tmp_path: Path) -> None:
    first = ran(tmp_path, "config", "init", "mine")
    assert (first.returncode, "mine/policy.toml" in first.stdout) == (0, True)
    again = ran(tmp_path, "config", "init", "mine")
    assert (again.returncode, "exists and is left alone" in again.stderr) == (1, True)
    assert ran(tmp_path, "config", "check", "--config", "mine").returncode == 0


def test_check_ends_with_2_and_a_line_for_each_problem(tmp_path: Path) -> None:
    ran(tmp_path, "config", "init")
    policy = tmp_path / "config/policy.toml"
    policy.write_text(policy.read_text("utf-8").replace("factor = 3", "factr = 3"), "utf-8")
    done = ran(tmp_path, "config", "check", "--output", "json", partitions="many")
    assert done.returncode == 2
    assert [row["message"] for row in json.loads(done.stdout) if row["status"] == "fail"] == [
        'STREAMS_PARTITIONS is "many": write a whole number from 1 to 10000',
        "config/policy.toml: growth.factr is not known: did you mean factor?",
        "config/policy.toml: growth.factor is missing: write a whole number from 2 to 100",
    ]
    assert done.stderr == "streams: 3 to mend in config or the environment\n"


def test_every_command_names_a_misspelt_variable() -> None:
    done = streams("events", "sample", "--example", broker="b:1")
    assert done.returncode == 0
    assert "STREAMS_BROKER has no meaning: did you mean STREAMS_BROKERS?" in done.stderr


def test_wrong_settings_end_a_command_with_2() -> None:
    done = streams("topics", "plan", redis="localhost")
    assert done.returncode == 2
    assert done.stderr.startswith('streams: STREAMS_REDIS is "localhost": write redis://HOST:PORT')
