"""Each rule of the archive has a test that turns red when the rule is taken out.

As `test_mutations`, for what keeps the rows of videos that leave Redis and return.

    pytest tests/faults/test_archive_mutations.py
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

STORE = "tests/contract/test_store.py"
ARCHIVE = "tests/contract/test_archive.py"
ARCHIVING = "tests/runtime/test_archiving.py"
RULES = [
    Mutation(
        "a record is durable before anything points to it",
        "runtime/archive.py",
        "offset = await (await self._producer.send(record))",
        "sent = await self._producer.send(record)\n"
        "            sent.add_done_callback(lambda done: done.exception())\n"
        "            offset = 0",
        ARCHIVE,
        "cannot_be_written",
    ),
    Mutation(
        "rows go and a pointer comes under the guard of the watermark (twin)",
        "runtime/memory/store.py",
        "if stored.watermark != expected or new <= stored.watermark:",
        "if new <= stored.watermark:",
        STORE,
        "comes_too_late and memory",
    ),
    Mutation(
        "rows go and a pointer comes under the guard of the watermark",
        "runtime/redis/flush.lua",
        "if watermark ~= expected or",
        "if",
        STORE,
        "comes_too_late and 6.2",
    ),
    Mutation(
        "another owner's leaving is no repeat of ours (twin)",
        "runtime/memory/store.py",
        " and stored.departed == changes.departed",
        "",
        STORE,
        "no_repeat_of_ours and memory",
    ),
    Mutation(
        "another owner's leaving is no repeat of ours",
        "runtime/redis/flush.lua",
        " and (stored[4] or '') == moved",
        "",
        STORE,
        "no_repeat_of_ours and 6.2",
    ),
    Mutation(
        "a pointer goes with the return (twin)",
        "runtime/memory/store.py",
        "stored.pointers.pop(video, None)",
        "pass",
        STORE,
        "returned and memory",
    ),
    Mutation(
        "a pointer goes with the return",
        "runtime/redis/flush.lua",
        "redis.call('HDEL', KEYS[buckets + #departed + i], returned[i])",
        "0",
        STORE,
        "returned and 6.2",
    ),
    Mutation(
        "what a pointer finds is what was written",
        "runtime/archive.py",
        " and pointer == _pointer(offset, key, value)",
        "",
        ARCHIVE,
        "another_record and memory",
    ),
    Mutation(
        "a video that changes returns with all of its rows",
        "core/state.py",
        "rows[video] = {**archived.rows, **rows[video]}",
        "pass",
        ARCHIVING,
        "come_and_go",
    ),
    Mutation(
        "a video that was read from the archive returns with all of its rows",
        "runtime/owned.py",
        "self.state.archived.update(loaded.archived)",
        "pass",
        ARCHIVING,
        "takes_over",
    ),
    Mutation(
        "a video that changes while it leaves returns with all of its rows",
        "runtime/archiving.py",
        "self._state.archived.update((video, each.archived) for video, each in kept.items())",
        "pass",
        ARCHIVING,
        "come_and_go",
    ),
    Mutation(
        "what changed with the flush stays",
        "runtime/archiving.py",
        "            and not self._state.is_moving(video, changes.epoch)\n",
        "",
        ARCHIVING,
        "come_and_go or dies",
    ),
    Mutation(
        "only who is quiet leaves",
        "runtime/archiving.py",
        "            and is_quiet(fields, before_ms)\n",
        "",
        ARCHIVING,
        "quiet_no_more",
    ),
    Mutation(
        "who cannot read the archive does not count from nothing",
        "runtime/owned.py",
        "        if loaded.pointers:\n",
        "        if False:\n",
        ARCHIVING,
        "nobody_reads",
    ),
    Mutation(
        "feeds are told of what left",
        "runtime/owned.py",
        "self._archiver.note(changes.departed, upto)",
        "pass",
        ARCHIVING,
        "feeds",
    ),
    Mutation(
        "feeds are told all of what returned",
        "core/state.py",
        "state.told, state.controlled = NOTHING_TOLD, True",
        "pass",
        ARCHIVING,
        "feeds",
    ),
    Mutation(
        "records that nobody points to go",
        "runtime/owned.py",
        "self._outbox.extend(self._archiver.tombstones(changes.returned))",
        "pass",
        ARCHIVING,
        "told_to_go",
    ),
    Mutation(
        "a recount reads what left too",
        "runtime/whole.py",
        "        if not loaded.pointers:\n",
        "        if True:\n",
        ARCHIVING,
        "come_and_go",
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("tests", sorted({rule.tests for rule in RULES}))
def test_without_a_mutation_the_tests_pass_in_the_copy(copied: Path, tests: str) -> None:
    select = " or ".join(f"({rule.select})" for rule in RULES if rule.tests == tests)
    assert passes(copied, tests, select, {})


@pytest.mark.parametrize("mutation", RULES, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_is_found(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)
