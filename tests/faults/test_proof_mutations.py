"""Rules of snapshots, of what is proved by them and of what is skipped, each taken out once.

As in `test_mutations`: a replacement in a copy of the package turns the tests named with it red.
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

SNAPSHOTS = "tests/ops/test_snapshotting.py"
SKIPS = "tests/ops/test_skip.py"
REPARTITION = "tests/ops/test_repartition.py"
TAIL = "tests/ops/test_repartition_tail.py"

MUTATIONS = [
    Mutation(
        "counters that went over are closed",
        "ops/repartition.py",
        '            await take_over(self._old.store, partition, before, after, "every worker")\n',
        "",
        REPARTITION,
        "written_meanwhile or once_the_old or while_it_was_read",
    ),
    Mutation(
        "a run that another one overtook ends",
        "ops/repartition.py",
        "if not is_last or self._latest.get(RECORD_KEY) != self._installed:",
        "if False:",
        REPARTITION,
        "two_runs and 397",
    ),
    Mutation(
        "a run that slept stores nothing over another one's",
        "ops/repartition.py",
        "        left = await self._new.store.labelled(partition)\n"
        "        await self._require_claim(record)  # so what was there is of no later run\n",
        "        await self._require_claim(record)\n"
        "        left = await self._new.store.labelled(partition)\n",
        REPARTITION,
        "slept_before",
    ),
    Mutation(
        "nothing is behind when counters go over",
        "ops/repartition_ends.py",
        "following, bounds.end",
        "bounds.end, bounds.end",
        REPARTITION,
        "not_settled or comes_while",
    ),
    Mutation(
        "only whole partitions go over",
        "ops/repartition.py",
        "            require_whole(partition, ends[partition], rows[-1])\n",
        "",
        REPARTITION,
        "not_settled",
    ),
    Mutation(
        "what was stored is read back",
        "ops/repartition.py",
        "if await store.meta(partition, coming) != stored or await store.scan(partition) != rows:",
        "if False:",
        REPARTITION,
        "read_back",
    ),
    Mutation(
        "feeds find nothing once counters went over",
        "ops/repartition.py",
        "            await self._index.clear(slice_id)\n",
        "            pass\n",
        REPARTITION,
        "once_the_old",
    ),
    Mutation(
        "every generation that the window goes by goes over",
        "ops/repartition_tail.py",
        "for age in reversed(range(REPLAYED_GENERATIONS + 1)):",
        "for age in (REPLAYED_GENERATIONS, 0):",
        TAIL,
        "is_that_of_the_old",
    ),
    Mutation(
        "what another log counted is not counted again",
        "runtime/codec.py",
        "if COUNTED in names and trust is not None:",
        "if False:",
        "tests/runtime/test_codec.py",
        "another_log_counted",
    ),
    Mutation(
        "a snapshot of a run that was cut short proves nothing",
        "ops/verify.py",
        "if snapshot.point.watermark < base:",
        "if False:",
        REPARTITION,
        "cut_short_proves",
    ),
    Mutation(
        "no recount begins where counters went over from another log",
        "ops/verify.py",
        "if begins := log.tools.installation.begins(partition, bounds.start):",
        "if begins := bounds.start:",
        REPARTITION,
        "without_its_snapshot",
    ),
    Mutation(
        "a later dossier is not replaced by an earlier one",
        "ops/carrying.py",
        "if known.get(video, nothing).revision < document.revision",
        "if known.get(video) != document",
        "tests/ops/test_carrying.py",
        "later_revision",
    ),
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
        "return record is None or mark_of(record) != point.meta.mark",
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
        "return await self._ledger.answer(ANSWER_S)",
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


@pytest.mark.parametrize(
    ("tests", "select"),
    [
        (SNAPSHOTS, ""),
        (SKIPS, ""),
        (TAIL, ""),
        (REPARTITION, "not dies_anywhere and (397 or not two_runs)"),
    ],
)
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str, select: str) -> None:
    assert passes(copied, tests, select, {})


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_the_suite_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)
