"""Each safety rule has a test that turns red when the rule is taken out of the source.

A mutation is one replacement in a copy of the package; the tests it names must then fail. Without
a mutation the same tests pass in the same copy. A text that is no longer in the source fails too:
the rule moved, so move the mutation with it. All of them, a few seconds each:

    pytest tests/faults/test_mutations.py
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

STORE = "tests/contract/test_store.py"
WINDOW_PARTS = "tests/runtime/test_window_parts.py"
WORKER = "tests/runtime/test_worker.py"
PURE = [
    Mutation(
        "parts of the window are written by the partition's owner alone",
        "runtime/redis/parts.lua",
        "stored[2] ~= ARGV[2] or stored[3] ~= ARGV[3]",
        "false",
        STORE,
        "does_not_own",
    ),
    Mutation(
        "parts of the window are written by the partition's owner alone (twin)",
        "runtime/memory/store.py",
        "if not fresh and held != guard:",
        "if False:",
        STORE,
        "does_not_own",
    ),
    Mutation(
        "what was read before a partition was opened is not folded there",
        "runtime/worker.py",
        "if owned is not before.get(partition):",
        "if False:",
        WORKER,
        "opened_again",
    ),
    Mutation(
        "no watermark passes a part that is not stored",
        "runtime/owned.py",
        "await self._until_done(self._parts.keep, self.watermark, self._digest)",
        "pass",
        WINDOW_PARTS,
        "takeover_reads",
    ),
    Mutation(
        "what was loaded is not stored as if it filled",
        "runtime/window_parts.py",
        "    state.window.turn(at)",
        "    pass",
        WINDOW_PARTS,
        "at_any_watermark",
    ),
    Mutation(
        "parts of another history are dropped before anything is counted",
        "runtime/window_parts.py",
        "self._stale: Final = set(kept.stale)",
        "self._stale: Final[set[int]] = set()",
        WINDOW_PARTS,
        "another_history",
    ),
    Mutation(
        "ids that are damaged are not believed",
        "runtime/window_store.py",
        "    if _checksum(ids) != entry.checksum:",
        "    if False:",
        WINDOW_PARTS,
        "without_one",
    ),
    Mutation(
        "the store compares the watermark (twin)",
        "runtime/memory/store.py",
        "if stored.watermark != expected or new <= stored.watermark:",
        "if False:",
        select="over_another or fell_back",
    ),
    Mutation(
        "reading starts at the stored watermark, not at the Kafka commit",
        "runtime/opening.py",
        "start_of(partition, stored.watermark, bounds, state.window.generations)",
        "Start(await self._consumer.committed(partition) or 0, range(0))",
        select="committed",
    ),
    Mutation(
        "the commit comes after the flush",
        "runtime/worker.py",
        "owned.watermark + 1\n            for partition, owned in self._owned.items()\n"
        "            if owned.watermark >= 0 "
        "and self._committed.get(partition) != owned.watermark + 1",
        "owned.folded + 1\n            for partition, owned in self._owned.items()",
        select="group_commits",
    ),
    Mutation(
        "a conflict is never swallowed",
        "runtime/owned.py",
        "if isinstance(result, Conflict):",
        "if False and isinstance(result, Conflict):",
        select="over_another",
    ),
    Mutation(
        "idle partitions are audited",
        "runtime/worker.py",
        "await owned.audit()",
        "owned.audit",
        select="idle",
    ),
    Mutation(
        "decisions are acknowledged before the watermark moves",
        "runtime/owned.py",
        "        for ack in acks:\n            await _written(ack)\n",
        "        del acks\n",
        select="acknowledgement",
    ),
    Mutation(
        "the fold knows no clock",
        "core/fold.py",
        "        ts = event.ts\n",
        '        ts = __import__("time").time_ns() // 1_000_000\n',
        "tests/golden/test_golden.py",
        "",
    ),
    Mutation(
        "a receipt's time is that of its cause",
        "core/writing.py",
        '"ts": self.cause.ts,',
        '"ts": __import__("time").time_ns() // 1_000_000,',
        "tests/golden/test_golden.py",
        "",
    ),
    Mutation(
        "a drawn tranche is shown to its end",
        "core/rule.py",
        " and not is_tried(video_row, slice_id, row)",
        "",
        "tests/core/test_exploration.py",
        "to_its_end",
    ),
    Mutation(
        "who chooses an id does not know what is drawn",
        "core/exploration.py",
        "policy.explore_key.encode()",
        'b"public"',
        "tests/core/test_exploration.py",
        "another_key",
    ),
    Mutation(
        "a policy that draws has a key to draw by",
        "core/fold.py",
        "if record.explore_probability and not record.explore_key:",
        "if False:",
        "tests/core/test_exploration.py",
        "by_no_key",
    ),
    Mutation(
        "an emptied store is told from a new one",
        "runtime/opening.py",
        "await self._require_fresh(partition)",
        "pass",
        select="emptied or vanish",
    ),
    Mutation(
        "a restart remembers the ids that the watermark covers",
        "runtime/owned.py",
        "self.state.remember(event, offset)",
        "pass",
        select="deaths or between",
    ),
    Mutation(
        "a restart reads three generations before the current one",
        "core/window.py",
        "REPLAYED_GENERATIONS: Final = 3",
        "REPLAYED_GENERATIONS: Final = 2",
        "tests/core/test_window.py",
        "",
    ),
    Mutation(
        "only stored videos leave memory",
        "core/state.py",
        "if state.touched <= self._flushed and",
        "if",
        select="stay_in_memory",
    ),
    Mutation(
        "what is refused goes to the dead letters",
        "runtime/owned.py",
        "self._outbox.extend(self._intake.letters(chunk, refused, upto))",
        "pass",
        select="dead_letters or batches",
    ),
    Mutation(
        "what expired halts",
        "runtime/opening.py",
        "if watermark >= 0 and following < bounds.start:",
        "if False:",
        select="retention",
    ),
    Mutation(
        "a log that ends below the watermark halts",
        "runtime/opening.py",
        "if following > bounds.end:",
        "if False:",
        select="ends_below",
    ),
    Mutation(
        "a log that ends too early is asked for again before it halts",
        "runtime/opening.py",
        " or self._clock() - short_at >= SHORT_S:",
        " or True:",
        "tests/runtime/test_worker_partitions.py",
        "ends_too_early",
    ),
    Mutation(
        "too much bad input pauses the partition",
        "runtime/refused.py",
        "self._rest.begin(now)",
        "pass",
        select="too_many",
    ),
    Mutation(
        "rows are loaded together with the watermark they belong to",
        "runtime/owned.py",
        "if stored not in ours | {self.watermark}:",
        "if False:",
        select="frozen",
    ),
    Mutation(
        "a flush is bounded",
        "runtime/owned.py",
        "while len(self.state.changed) >= self._settings.flush_rows and",
        "while False and",
        select="bound_allows",
    ),
    Mutation(
        "a partition has one flush under way at a time",
        "runtime/owned.py",
        "        if self._unfinished:\n            return\n        now = self._clock()\n"
        "        telling = self._is_telling()\n        if self.flushing is None and ",
        "        now = self._clock()\n        telling = self._is_telling()\n        if ",
        tests="tests/runtime/test_gaps.py",
        select="under_way",
    ),
    Mutation(
        "letters are acknowledged before the watermark moves",
        "runtime/owned.py",
        "await self._until_done(self._acknowledge, outbox)",
        "for one in outbox: await self._producer.send(one)",
        select="acknowledgement_of_dead",
    ),
    Mutation(
        "a pause comes to its end",
        "runtime/bad_input.py",
        "self.until = now + TRICKLE_S if self.resting",
        'self.until = float("inf") if self.resting',
        select="too_many",
    ),
    Mutation(
        "a pause takes a few records at a time",
        "runtime/refused.py",
        "return TRICKLE_RECORDS if self._rest.resting else 1 << 30",
        "return 1 << 30",
        select="after_a_pause",
    ),
    Mutation(
        "what is only misrouted never pauses",
        "runtime/refused.py",
        "BadInput(pauses=False)",
        "self._bad",
        select="partitioner",
    ),
    Mutation(
        "the record at the watermark is compared",
        "runtime/owned.py",
        "raise rewritten(self.partition, self._mark, record)",
        "pass",
        select="written_anew",
    ),
    Mutation(
        "a mark counts at its own watermark only",
        "runtime/opening.py",
        'return mark.startswith(f"{offset}:")',
        "return bool(mark)",
        select="older_code",
    ),
    Mutation(
        "loading is not awaited by the loop",
        "runtime/worker.py",
        "await asyncio.wait(begun, timeout=WORK_S)",
        "await asyncio.wait(begun)",
        select="while_videos_are_loaded",
    ),
    Mutation(
        "a held partition is read again",
        "runtime/worker.py",
        "self._consumer.resume(sorted(freed))",
        "pass",
        select="too_many",
    ),
    Mutation(
        "a partition with something left to fold is held",
        "runtime/worker.py",
        "if one.backlog}",
        "if False}",
        select="reads_no_further",
    ),
    Mutation(
        "an unlike takes back only what is known to have counted",
        "core/window.py",
        'return "" if self._likes[REPLAYED_GENERATIONS].is_met(pair) else like',
        "return like",
        "tests/core/test_window.py",
        "",
    ),
    Mutation(
        "a stored row of another length is not read",
        "core/counters.py",
        "if len(values) > len(names):",
        "if False:",
        "tests/core/test_counters.py",
        "longer",
    ),
    Mutation(
        "a letter is dated when it is written",
        "runtime/letters.py",
        "value, key, headers)\n\n\ndef by_place",
        "value, key, headers, None, record.timestamp)\n\n\ndef by_place",
        "tests/runtime/test_letters.py",
        "",
    ),
]
LUA = [
    Mutation(
        "the script compares the watermark",
        "runtime/redis/flush.lua",
        "if watermark ~= expected or tonumber",
        "if tonumber",
        STORE,
        "redis",
    ),
    Mutation(
        "the watermark never goes down",
        "runtime/redis/flush.lua",
        " or tonumber(new) <= tonumber(watermark) then",
        " then",
        STORE,
        "redis",
    ),
    Mutation(
        "a repeated flush is known by its digest",
        "runtime/redis/flush.lua",
        "if watermark == new and stored[3] == ARGV[5] and",
        "if watermark == new and",
        STORE,
        "redis",
    ),
    Mutation(
        "another namespace is never written over",
        "runtime/redis/flush.lua",
        "if not fresh and stored[1] ~= namespace then",
        "if false then",
        STORE,
        "redis",
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("tests", sorted({m.tests for m in PURE}))
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str) -> None:
    select = next(m.select for m in PURE if m.tests == tests)
    assert passes(copied, tests, select, {})


@pytest.mark.parametrize("mutation", PURE, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_the_suite_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)


@pytest.mark.real
def test_without_a_mutation_the_script_is_green(copied: Path, redis_url: str) -> None:
    assert passes(copied, STORE, "redis", {"STREAMS_TEST_REDIS": redis_url})


@pytest.mark.real
@pytest.mark.parametrize("mutation", LUA, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_of_the_script_turns_the_suite_red(
    copied: Path, mutation: Mutation, redis_url: str
) -> None:
    assert turns_red(copied, mutation, STREAMS_TEST_REDIS=redis_url)
