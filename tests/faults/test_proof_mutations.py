"""Rules of snapshots, of what is proved by them and of what is skipped, each taken out once.

As in `test_mutations`: a replacement in a copy of the package turns the tests named with it red.
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

SNAPSHOTS = "tests/ops/test_snapshotting.py"
SKIPS = "tests/ops/test_skip.py"

MUTATIONS = [
    Mutation(
        "somebody in force signed the newest snapshot",
        "ops/snapshots.py",
        "        require_signed(newest, self._trust)\n",
        "",
        SNAPSHOTS,
        "another_ones or nobody",
    ),
    Mutation(
        "a snapshot is of this log",
        "ops/snapshots.py",
        "        require_origin(sealed, replace(self._origin, partition=partition))\n",
        "",
        SNAPSHOTS,
        "another_logs",
    ),
    Mutation(
        "a body is the one that was signed",
        "ops/snapshot_file.py",
        "if sha256(body).hexdigest() != header.sha256:",
        "if False:",
        SNAPSHOTS,
        "bad_snapshot",
    ),
    Mutation(
        "a snapshot goes on from the one that it names",
        "ops/snapshots.py",
        "if parent.name != header.parent:",
        "if False:",
        SNAPSHOTS,
        "takes_its_place",
    ),
    Mutation(
        "a snapshot is of the log that is there now",
        "ops/verify.py",
        "return mark_of(record) != point.meta.mark",
        "return False",
        SNAPSHOTS,
        "written_anew",
    ),
    Mutation(
        "nothing is kept where fold and recount disagree",
        "ops/snapshotting.py",
        "            _require_agreement(counting.recount, point, result)\n",
        "",
        SNAPSHOTS,
        "disagree",
    ),
    Mutation(
        "a snapshot with a gap behind it proves nothing",
        "ops/verify.py",
        "reaches = snapshot is not None and snapshot.point.watermark + 1 >= bounds.start",
        "reaches = True",
        SNAPSHOTS,
        "a_gap",
    ),
    Mutation(
        "a new chain needs the whole window",
        "ops/snapshotting.py",
        "if bounds.start > first:",
        "if False:",
        SNAPSHOTS,
        "whole_window",
    ),
    Mutation(
        "a chain that began anew says from where it proves",
        "ops/snapshotting.py",
        "        proved_from = stored.watermark + 1\n",
        "        proved_from = 0\n",
        SNAPSHOTS,
        "begins_anew",
    ),
    Mutation(
        "the recount goes on with the window",
        "ops/recount.py",
        "        recount._window.thaw(at.window)\n",
        "",
        SNAPSHOTS,
        "no_cut or still_proved",
    ),
    Mutation(
        "a comparison goes on to the watermark of the rows",
        "ops/verify.py",
        "        await count(loaded.watermark)\n",
        "",
        SNAPSHOTS,
        "may_go_on",
    ),
    Mutation(
        "a skip counts if somebody in force signed it",
        "runtime/ledger.py",
        "        require_signature(record, trust, None)\n",
        "        pass\n",
        SKIPS,
        "nobody_in_force",
    ),
    Mutation(
        "only the place at which a partition halts is skipped",
        "ops/skip.py",
        "if halting != offset:",
        "if False:",
        SKIPS,
        "no_other_place",
    ),
    Mutation(
        "what is counted is not skipped",
        "ops/skip.py",
        "if offset <= watermark:",
        "if False:",
        SKIPS,
        "no_other_place",
    ),
    Mutation(
        "whoever counts again skips the same",
        "runtime/skipping.py",
        "if passed != reached:",
        "if False:",
        SKIPS,
        "goes_on_behind",
    ),
    Mutation(
        "what is skipped stands beside the counters",
        "runtime/owned.py",
        "mark=mark_of(self._last), skips=kept)",
        "mark=mark_of(self._last))",
        SKIPS,
        "goes_on_behind",
    ),
    Mutation(
        "a rebuilt partition skips the same",
        "runtime/opening.py",
        "return self._reading.result()",
        "return Skips()",
        SKIPS,
        "rebuild or older_dump",
    ),
    Mutation(
        "what stands before a damaged batch is handed out",
        "runtime/kafka/unpacking.py",
        "            if not begun:\n                raise\n",
        "            raise\n",
        "tests/contract/test_unpacking.py",
        "damaged",
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("tests", [SNAPSHOTS, SKIPS])
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str) -> None:
    assert passes(copied, tests, "", {})


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_the_suite_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)
