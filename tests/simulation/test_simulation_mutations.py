"""What the simulation is worth: each rule taken out goes wrong in one of so many lives.

pytest tests/simulation/test_simulation_mutations.py
"""

import os
from pathlib import Path

import pytest
from kit.forks import run
from kit.mutations import Mutation, copy_of_project, taken_out

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MUTATIONS = [
    Mutation(
        "a flush compares the watermark (twin)",
        "runtime/memory/store.py",
        "if stored.watermark != expected or new <= stored.watermark:",
        "if False:",
        select="250",
    ),
    Mutation(
        "parts of the window are written by the owner alone (twin)",
        "runtime/memory/store.py",
        "if not fresh and held != guard:",
        "if False:",
        select="50",
    ),
    Mutation(
        "the ids of the part of the watermark are read again",
        "runtime/window_parts.py",
        "return LoadedWindow(at, kept, whole_from)",
        "return LoadedWindow(watermark + 1, kept, whole_from)",
        select="150",
    ),
    Mutation(
        "the watermark waits for receipts, letters and minutes",
        "runtime/owned.py",
        "await self._until_done(self._acknowledge, outbox)",
        "for each in outbox:\n                await self._producer.send(each)",
        select="150",
    ),
    Mutation(
        "the open minute is stored with the rows, under the same guard",
        "core/state.py",
        "            traffic=traffic,\n",
        "",
        select="50",
    ),
    Mutation(
        "reading starts at the stored watermark, not at the Kafka commit",
        "runtime/opening.py",
        "position = ledger.following(partition, start.position)",
        "position = await self._consumer.committed(partition) or 0",
        select="50",
    ),
    Mutation(
        "the ids before the watermark are read again",
        "runtime/opening.py",
        "first = generations.back(following, REPLAYED_GENERATIONS)",
        "first = following",
        select="50",
    ),
    Mutation(
        "a policy of an old leader is refused in the next term",
        "core/fold.py",
        "if record.term < state.trust.term:",
        "if False:",
        select="70",
    ),
    Mutation(
        "a dossier is replaced only by one made from its revision (twin)",
        "runtime/memory/dossiers.py",
        "return revision == change.before or stored == change.document",
        "return True",
        select="70",
    ),
    Mutation(
        "a dossiers' position below the one known is a loss",
        "control/admission/acknowledged.py",
        "if stored < known:",
        "if False:",
        select="50",
    ),
    Mutation(
        "what is to be said is stored before it is said",
        "control/admission/dossier.py",
        "unsent=numbered, uncopied=True)",
        "unsent=(), uncopied=True)",
        select="50",
    ),
    Mutation(
        "a partition that took no policy is owed it",
        "control/policy/broadcast.py",
        "self._owed = {partition: self._owed[partition] for partition in errors}",
        "self._owed = {}",
        select="250",
    ),
    Mutation(
        "leases that nobody settles come back (twin)",
        "runtime/memory/serving.py",
        "pair.drop(self._is_over)",
        "pass",
        select="50",
    ),
    Mutation(
        "what is leased is not left (twin)",
        "runtime/memory/serving.py",
        "entry.allowance - entry.impressions - self.leased",
        "entry.allowance - entry.impressions",
        select="50",
    ),
    Mutation(
        "a slice that lost its place is filled again",
        "runtime/serving.py",
        "owned.lost.add(slice_id)\n                line.priced = None",
        "pass",
        select="200",
    ),
    Mutation(
        "a partition is filled when it is counted by another freezing",
        "runtime/serving.py",
        "if owned.frozen not in {None, frozen}:",
        "if False:",
        select="300",
    ),
    Mutation(
        "nobody leaves whom feeds are told of with the same flush",
        "runtime/archiving.py",
        "            and video not in told\n",
        "",
        select="400",
    ),
    Mutation(
        "what a log lost is counted anew from a snapshot",
        "ops/rebuild.py",
        "if begins[partition] else None",
        "if False else None",
        select="100",
    ),
    Mutation(
        "a snapshot has all that changed since the one before",
        "ops/snapshotting.py",
        "point, begun.snapshot, fold.changed, self",
        "point, begun.snapshot, (), self",
        select="60",
    ),
    Mutation(
        "the latest generation goes over to another partition count",
        "ops/repartition_tail.py",
        "for age in reversed(range(REPLAYED_GENERATIONS + 1)):",
        "for age in reversed(range(1, REPLAYED_GENERATIONS + 1)):",
        select="30",
    ),
    Mutation(
        "generations are no shorter where fewer partitions have the records of many",
        "ops/repartition_rows.py",
        "*(length + 1 for length in latest)",
        "1",
        select="80",
    ),
]
"""`select` says in how many lives, from seed 0 on, each must go wrong."""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


def goes_wrong(copy: Path, lives: str) -> bool:
    """Tell whether one of so many lives goes wrong in the copy."""
    done = run(
        ["simulation", "0", "--lives", lives],
        cwd=copy,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": f"{copy}:{copy}/tests"},
        timeout_s=800,
    )
    assert done.returncode in (0, 1), done.stderr[-2_000:]
    return "seed " in done.stdout


def test_without_a_mutation_all_is_well_in_the_copy(copied: Path) -> None:
    assert not goes_wrong(copied, "40")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_is_found(copied: Path, mutation: Mutation) -> None:
    with taken_out(copied, mutation):
        assert goes_wrong(copied, mutation.select)
