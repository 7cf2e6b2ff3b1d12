"""Rules taken out of a copy of the source, one at a time: their tests must turn red.

`.docs/mutations.md` names the test that does, and the gates run that one alone (`kit.gates`).
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from kit.forks import run

ROOT: Final = Path(__file__).parents[2]
WORKER: Final = "tests/runtime/test_worker.py"
PAGE: Final = ROOT / ".docs" / "mutations.md"
HURRIED: Final = {"STREAMS_TEST_PATIENCE_S": "2"}
"""A worker without one of its rules may hang; with all of them it takes milliseconds."""


class Mutation(NamedTuple):
    """One rule taken out: `old` becomes `new` in `file`, and `tests` matching `-k` turn red."""

    rule: str
    file: str
    old: str
    new: str
    tests: str = WORKER
    select: str = "not digest_for_any"


def copy_of_project(folder: Path) -> Path:
    """Return a copy of the project in this folder, in which anything may be changed."""
    for part in ("streams", "tests", "config"):  # with their bytecode
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def passes(copy: Path, tests: str, select: str, environment: Mapping[str, str]) -> bool:
    """Tell whether these tests pass in the copy."""
    return _first_red(copy, tests, select, environment) is None


def turns_red(copy: Path, mutation: Mutation, **environment: str) -> bool:
    """Tell whether a test fails with the rule taken out; put it back.

    The one that the page names comes first: one that draws its examples may miss what the rest of
    the rule's tests find.
    """
    named = rows().get((mutation.file, mutation.rule))
    narrow = [] if named is None else [mutation._replace(tests=f"tests/{named}")]
    return any(reddened(copy, one, **environment) is not None for one in [*narrow, mutation])


def reddened(copy: Path, mutation: Mutation, **environment: str) -> str | None:
    """Return the first test that fails with the rule taken out, None if none does; put it back."""
    with taken_out(copy, mutation):
        around = {**HURRIED, **environment}
        return _first_red(copy, mutation.tests, mutation.select, around)


def rows() -> dict[tuple[str, str], str]:
    """Return the page's test for each file and rule: path below `tests/`, and name."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    found = re.findall(r"^\| (.+) \| `(.+)` \| `(.+)` \|$", text, re.MULTILINE)
    return {(file, rule): test for rule, file, test in found}


def _first_red(copy: Path, tests: str, select: str, environment: Mapping[str, str]) -> str | None:
    inherited = {k: v for k, v in os.environ.items() if k != "CI"}  # a copy has no real tests left
    done = run(
        ["pytest", tests, "-x", "-q", "--assert=plain", "--timeout=30", "-k", select],
        cwd=copy,
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        timeout_s=250,
    )
    assert done.returncode in (0, 1), done.stdout[-2_000:] + done.stderr[-2_000:]
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) tests/([\w/]+\.py::\w+)", done.stdout, re.MULTILINE)
    assert found is not None, f"no test turned red, it cannot be run: {done.stdout[-2_000:]}"
    return found[1]


@contextmanager
def taken_out(copy: Path, mutation: Mutation) -> Iterator[None]:
    """Take a rule out of a copy until the end of the block."""
    file = copy / "streams" / mutation.file
    whole, times = file.read_text("utf-8"), file.stat()
    assert mutation.old in whole, f"the rule moved: {mutation.rule}"
    file.write_text(whole.replace(mutation.old, mutation.new), "utf-8")
    try:
        yield
    finally:
        file.write_text(whole, "utf-8")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # its bytecode counts again
