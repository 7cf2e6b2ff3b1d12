"""Finds the tests that turn red without a rule: `PYTHONPATH=.:tests python -m kit.gates`.

It takes the rules of the mutation gates out, one at a time, those that `.docs/mutations.md` has no
row of (with `--all` every one), and writes what turned red into the page.
"""

import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from kit.mutations import PAGE, ROOT, Mutation, copy_of_project, reddened, rows
from kit.servers import redis_server

GATES: Final = ROOT / "tests" / "faults"
HEAD: Final = """\
# Safety rules, and the test that turns red without each

For engineers. A mutation gate takes each rule out of a copy of the source: the test that is named
must fail then, and without that passes. The gates run every night, and alone with
`pytest tests/faults -k mutations`. `PYTHONPATH=.:tests python -m kit.gates` writes this page. What
lives of the simulation find stands in `simulation/test_simulation_mutations.py`.
"""


def rules_of_gates() -> dict[str, list[Mutation]]:
    """Return the rules by the name of the file that takes them out."""
    return {path.name: list(_rules_in(path)) for path in sorted(GATES.glob("test_*mutations.py"))}


def _rules_in(path: Path) -> Iterator[Mutation]:
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for value in vars(module).values():
        if isinstance(value, list):
            yield from (one for one in value if isinstance(one, Mutation))


def page(found: dict[tuple[str, str], str]) -> str:
    """Return the page of what was found."""
    lines = [HEAD]
    for gate, rules in rules_of_gates().items():
        lines += [f"## `faults/{gate}`", "", "| rule | taken out of | test |", "|---|---|---|"]
        lines += [
            f"| {one.rule} | `{one.file}` | `{found[one.file, one.rule]}` |"
            for one in rules
            if (one.file, one.rule) in found
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Take out what has no row yet, or everything; tell what survives."""
    found = {} if "--all" in sys.argv else rows()
    survivors = 0
    with TemporaryDirectory() as folder, redis_server() as redis:
        copy = copy_of_project(Path(folder))
        for one in [rule for rules in rules_of_gates().values() for rule in rules]:
            if (one.file, one.rule) in found:
                continue
            around = {"STREAMS_TEST_REDIS": redis.url} if one.file.endswith(".lua") else {}
            test = reddened(copy, one, **around)
            if test is None:
                survivors += 1
                sys.stdout.write(f"survives: {one.rule} ({one.file})\n")
            else:
                found[one.file, one.rule] = test
                PAGE.write_text(page(found), "utf-8")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
