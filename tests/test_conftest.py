"""What tests are refused for: CI never passes without those of a real server or the browser."""

import os
from pathlib import Path

import pytest
from kit.command import Done
from kit.forks import run

TESTS = Path(__file__).parent
PASSES = "def test_passes() -> None:\n    pass\n"
SKIPS = """
import pytest

@pytest.mark.real
def test_skips() -> None:
    pytest.skip("for whatever reason")
"""
SKIPS_WHOLE = """
import pytest

pytest.skip("for whatever reason", allow_module_level=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tests of which one passes, under the rules of ours."""
    (tmp_path / "conftest.py").write_bytes((TESTS / "conftest.py").read_bytes())
    (tmp_path / "test_one.py").write_text(PASSES)
    return tmp_path


def outcome(folder: Path, **environment: str) -> Done:
    """Run them in two processes, as CI runs ours in several."""
    env = {name: text for name, text in os.environ.items() if name != "CI"}
    env |= {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"} | environment
    command = ["pytest", "-q", "--assert=plain", "-n", "2", "."]
    return run(command, env=env, cwd=folder, timeout_s=120)


@pytest.mark.real
@pytest.mark.parametrize("source", [SKIPS, SKIPS_WHOLE], ids=["a test", "a module"])
def test_in_ci_a_real_test_that_was_skipped_fails_all(folder: Path, source: str) -> None:
    (folder / "test_other.py").write_text(source)
    done = outcome(folder, CI="true")
    assert (done.returncode, "test_other.py" in done.stdout) == (1, True), done.stdout


def test_in_ci_what_is_whole_passes(folder: Path) -> None:
    done = outcome(folder, CI="true")
    assert done.returncode == 0, done.stdout


def test_elsewhere_what_was_skipped_is_named(folder: Path) -> None:
    (folder / "test_other.py").write_text(SKIPS)
    done = outcome(folder)
    assert (done.returncode, "test_other.py" in done.stdout) == (0, True), done.stdout
