"""A tenth of an hour's window of one partition at 9,000 events a second: its memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kit.hours import HOUR

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_six_minutes_of_ids_take_less_than_34_bytes_each_and_a_takeover_knows_them_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kit.hours", str(HOUR // 10)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdout=subprocess.PIPE,
        check=True,
    )
    measured = json.loads(done.stdout)
    print(measured)  # noqa: T201 - figures of the plan
    assert measured["bytes_an_id"] < 34
    assert measured["stored_bytes_an_id"] < 17
