"""Rules of the serving index and of what is brought to it, each taken out once.

As in `test_mutations`: a replacement in a copy of the package turns the tests named with it red.
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

CONTRACT = "tests/contract/test_serving.py"
OVERSHOOT = "tests/contract/test_overshoot.py"
INDEXING = "tests/runtime/test_serving.py"
FAULTS = "tests/runtime/test_serving_faults.py"
LEASES = "tests/client/test_leases.py"
WITHOUT_REDIS = "not real and not redis"
TWIN = "runtime/memory/serving.py"
MEMORY = "memory"
SCRIPTS = "redis and not 6.2 and not twin_does"

PURE = [
    Mutation(
        "rows tell nothing of a frozen slice in which something is owed",
        "runtime/rows.py",
        "if name in places and entry.score is not None",
        "if name in places",
        "tests/runtime/test_rows.py",
        "frozen_slice",
    ),
    Mutation(
        "an entry replaces one of a lower offset only",
        TWIN,
        "newer = pair is None or _replaces(entry, pair.entry)",
        "newer = True",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "a pair stands again at the offset of its removal",
        TWIN,
        "is_back = entry.score is not None and known.score is None",
        "is_back = False",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "what is leased is not left",
        TWIN,
        "entry.allowance - entry.impressions - self.leased, 0",
        "entry.allowance - entry.impressions, 0",
        OVERSHOOT,
        "thousand",
    ),
    Mutation(
        "counted impressions settle leases",
        TWIN,
        "pair.settle(entry.impressions - pair.entry.impressions)",
        "pass",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "the oldest leases are settled first",
        TWIN,
        "some = min(count, self.leases[0][1])",
        "self.leases.reverse()\n            some = min(count, self.leases[0][1])",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "leases that nobody settles come back",
        TWIN,
        "while known.late and known.late[0][0] <= now:",
        "while False:",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "what was not shown is given back",
        TWIN,
        "pair.give_back(count, lease.until)",
        "pass",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "a fraction of a fresh slot is kept for the next lease",
        TWIN,
        "known.fresh_due %= MICROS",
        "known.fresh_due = 0",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "who missed a deadline stands before nobody",
        TWIN,
        "if self.entry.deadline <= now_ms and not self.is_drawn:",
        "if False:",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "a key that nobody knows decides between equals",
        TWIN,
        "(known.key + entry.video)",
        "entry.video",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "the best of a class stay",
        TWIN,
        "ranked.cut(0, max(len(ranked.items) - most, 0))",
        "ranked.cut(0, 0)",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "only a later policy changes prices",
        TWIN,
        "if known.order is not None and order <= known.order:",
        "if False:",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "positions only rise",
        TWIN,
        "known.at[partition] = max(offset, known.at.get(partition, offset))",
        "known.at[partition] = offset",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "a position that went back is noticed",
        "runtime/serving.py",
        "elif before < line.told.get(partition, -1):",
        "elif False:",
        INDEXING,
        "",
    ),
    Mutation(
        "what was told of counters that are counted anew is forgotten, wherever they stand by now",
        "runtime/serving.py",
        "if before >= 0 and owned.fresh",
        "if before > offset and owned.fresh",
        FAULTS,
        "lost_its_beginning",
    ),
    Mutation(
        "a partition is filled again once it is as far as the index was told",
        "runtime/serving.py",
        "if owned.held and not self._is_ahead(partition, owned):",
        "if False:",
        INDEXING,
        "had_left",
    ),
    Mutation(
        "also one that was as far before its first call",
        "runtime/serving.py",
        "if before > (offset if partition in line.told else owned.opened):",
        "if before > offset:",
        INDEXING,
        "had_left",
    ),
    Mutation(
        "a filling comes to its end",
        "runtime/serving.py",
        "            if not owned.sweeping:\n                return\n",
        "",
        INDEXING,
        "comes_to_its_end",
    ),
    Mutation(
        "with more videos than memory feeds are told before rows alone are to tell",
        "runtime/owned.py",
        "if self._indexing is not None and self._indexing.has_room(self.partition):",
        "if False:",
        INDEXING,
        "more_videos_than_memory",
    ),
    Mutation(
        "a slice knows how far a partition is stored before a filling tells it anything",
        "runtime/refilling.py",
        "await self._begin(partition, slice_id)",
        "pass",
        INDEXING,
        "lost_before",
    ),
    Mutation(
        "prices are told again to an index that fell back with the counters",
        "runtime/serving.py",
        "            line.priced = None  # an index",
        "            pass  # an index",
        FAULTS,
        "replica_that_was_behind",
    ),
    Mutation(
        "a zombie stops",
        "runtime/serving.py",
        "if positions.get(p, -1) < ahead}",
        "if False}",
        INDEXING,
        "",
    ),
    Mutation(
        "what could not be sent is sent later",
        "runtime/serving.py",
        "line.put_back(taken, line.flying)",
        "pass",
        INDEXING,
        "",
    ),
    Mutation(
        "a later entry takes the place of one that could not be sent",
        "runtime/serving.py",
        "entries | self.waiting.get(partition, {})",
        "self.waiting.get(partition, {}) | entries",
        INDEXING,
        "",
    ),
    Mutation(
        "no more waits than there is room for",
        "runtime/serving.py",
        "if waiting > WAITING_MOST:",
        "if False:",
        INDEXING,
        "",
    ),
    Mutation(
        "how far a partition is told is said once all of it is",
        "runtime/serving.py",
        "if whole and (owned :=",
        "if (owned :=",
        INDEXING,
        "",
    ),
    Mutation(
        "what an index that is ahead waits for is told",
        "runtime/serving.py",
        "if owned is None or self._is_ahead(partition, owned):",
        "if owned is None:",
        INDEXING,
        "",
    ),
    Mutation(
        "what is kept for feeds alone makes room in memory",
        "runtime/worker.py",
        "if owned.state.untold > share // 2:",
        "if False:",
        INDEXING,
        "",
    ),
    Mutation(
        "feeds follow no policy before it is stored",
        "runtime/owned.py",
        "self._followed = self._flushed_outlook",
        "self._followed = self.state.outlook",
        INDEXING,
        "follow_no_policy",
    ),
    Mutation(
        "what is not kept for feeds is filled from the rows",
        "runtime/owned.py",
        "self._indexing.fill_one(self.partition, self.watermark)",
        "pass",
        INDEXING,
        "",
    ),
    Mutation(
        "what rows alone were to tell is removed though it was told last",
        "runtime/serving.py",
        "mark = max(owned.offset, owned.forgot)",
        "mark = owned.offset",
        INDEXING,
        "rows_alone",
    ),
    Mutation(
        "what is removed may be told again from the same rows",
        "runtime/refilling.py",
        "Entry(video, marks[owner], None)",
        "Entry(video, marks[owner] + 1, None)",
        INDEXING,
        "told_again",
    ),
    Mutation(
        "what the rows do not tell is removed",
        "runtime/refilling.py",
        "if offset < marks.get(owner, -1)",
        "if False",
        INDEXING,
        "",
    ),
    Mutation(
        "rows that fell back remove nothing that is newer",
        "runtime/serving.py",
        "mark = min(mark, filled.offset)",
        "pass",
        INDEXING,
        "",
    ),
    Mutation(
        "another log's offsets are forgotten",
        "runtime/serving.py",
        "if before >= 0 and owned.fresh and partition not in line.told:",
        "if False:",
        INDEXING,
        "",
    ),
    Mutation(
        "a clock set back brings leases back",
        "runtime/memory/serving.py",
        "if now < known.looked_at:",
        "if False:",
        CONTRACT,
        "clock_set_back",
    ),
    Mutation(
        "what is left out is not leased",
        "runtime/memory/serving.py",
        "if count <= 0 or video in self.left_out:",
        "if count <= 0:",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "of a frozen slice nothing is leased",
        "runtime/memory/serving.py",
        "if known.footing.frozen:",
        "if False:",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "what is open again is filled from the rows",
        "runtime/serving.py",
        'owned.cause = owned.cause or "opened"',
        "pass",
        INDEXING,
        "",
    ),
    Mutation(
        "what other slices show is left out",
        "client/leases_plan.py",
        "for video, at in homes.items() if at != place",
        "for video, at in homes.items() if False",
        LEASES,
        WITHOUT_REDIS,
    ),
    Mutation(
        "as many are looked at as a viewer needs",
        "client/leases.py",
        "if depth >= TOP_MOST:",
        "if True:",
        LEASES,
        WITHOUT_REDIS,
    ),
    Mutation(
        "what one slice gave goes back when another fails",
        "client/leases.py",
        "with suppress(StreamsError):\n                await self.give_back(*taken)",
        "pass",
        LEASES,
        WITHOUT_REDIS,
    ),
    Mutation(
        "what a viewer saw goes back",
        "client/leases.py",
        "if others:",
        "if False:",
        LEASES,
        WITHOUT_REDIS,
    ),
    Mutation(
        "a lease says by what a bid counts",
        TWIN,
        "factor = pair.entry.factor",
        "factor = 1_000_000",
        CONTRACT,
        MEMORY,
    ),
    Mutation(
        "a feed server hears by what a bid counts",
        "client/leases.py",
        "over_at, mix.seq, lease.factor",
        "over_at, mix.seq",
        LEASES,
        "by_what_the_bid and not redis",
    ),
]
LUA = [
    Mutation(
        "a newer entry changes what a bid counts by (script)",
        "runtime/redis/apply.lua",
        "pair[DEADLINE], pair[DUE], pair[FACTOR] = deadline, due, factor",
        "pair[DEADLINE], pair[DUE] = deadline, due",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "the script replaces entries of a lower offset only",
        "runtime/redis/apply.lua",
        "if not pair or offset > pair[OFFSET] or is_back then",
        "if true then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a pair stands again at the offset of its removal (script)",
        "runtime/redis/apply.lua",
        "if not pair or offset > pair[OFFSET] or is_back then",
        "if not pair or offset > pair[OFFSET] then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a removed pair keeps its offset",
        "runtime/redis/apply.lua",
        "in_parts('ZADD', REMOVED, removed)",
        "for i = 2, #removed, 2 do\n"
        "  changed[removed[i]] = nil\n"
        "  redis.call('HDEL', ENTRIES, removed[i])\n"
        "end",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a removed pair is forgotten one day",
        "runtime/redis/apply.lua",
        "if #forgotten > 0 then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a pair that came back is not forgotten (script)",
        "runtime/redis/apply.lua",
        "in_parts('ZREM', REMOVED, back)",
        "",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a pair leaves the list of its old class",
        "runtime/redis/apply.lua",
        "if kind ~= pair[KIND] then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "counted impressions settle leases (script)",
        "runtime/redis/apply.lua",
        "settle(pair, impressions - pair[IMPRESSIONS])",
        "",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "positions only rise (script)",
        "runtime/redis/apply.lua",
        "if not stored or offset > stored then",
        "if true then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "what is leased is not left (script)",
        "runtime/redis/index.lua",
        "pair[ALLOWANCE] - pair[IMPRESSIONS] - pair[LEASED]",
        "pair[ALLOWANCE] - pair[IMPRESSIONS]",
        OVERSHOOT,
        "redis",
    ),
    Mutation(
        "leases that nobody settles come back (script)",
        "runtime/redis/index.lua",
        "\ntake_back()\n",
        "\n",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "what came back may be leased at once",
        "runtime/redis/index.lua",
        "if next(changed) then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "the best of a class stay (script)",
        "runtime/redis/index.lua",
        "elseif over > 0 then",
        "elseif false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "the earliest newcomers stay (script)",
        "runtime/redis/index.lua",
        "if over > 0 and key == FRESH then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "only what is worth its price is shown",
        "runtime/redis/index.lua",
        "head.member and head.net >= 0 and",
        "head.member and",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "so many of one video at most",
        "runtime/redis/lease.lua",
        "math.min(wanted, each - (taken[video] or 0))",
        "wanted",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a fraction of a fresh slot is kept for the next lease (script)",
        "runtime/redis/lease.lua",
        "string.format('%d', due % 1000000)",
        "'0'",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a share that nobody was owed is not saved up (script)",
        "runtime/redis/lease.lua",
        "string.format('%d', due % 1000000)",
        "string.format('%d', due)",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "no key is made for a name that somebody invented",
        "runtime/redis/lease.lua",
        "if redis.call('EXISTS', AT) == 0 then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a lease that came back is not given back",
        "runtime/redis/give_back.lua",
        "if pair and not is_over(until_s) then",
        "if pair then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "what is given back is taken off its own lease (script)",
        "runtime/redis/give_back.lua",
        "if pair[at] == until_s then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "only a later policy changes prices (script)",
        "runtime/redis/prices.lua",
        "if stored[1] then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a key that nobody knows decides between equals (script)",
        "runtime/redis/apply.lua",
        "redis.sha1hex(key .. video)",
        "redis.sha1hex(video)",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a lease too far off is over (script)",
        "runtime/redis/index.lua",
        "until_s <= now or until_s > furthest",
        "until_s <= now",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "of a frozen slice nothing is leased (script)",
        "runtime/redis/lease.lua",
        "if is_frozen() then",
        "if false then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "of a frozen slice nothing is shown (script)",
        "runtime/redis/top.lua",
        "is_frozen() and 0 or",
        "",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "what is left out is not leased (script)",
        "runtime/redis/lease.lua",
        "if not left_out[video] then",
        "if true then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "a newcomer that is left out is not leased (script)",
        "runtime/redis/lease.lua",
        " and not left_out[page[i]] then",
        " then",
        CONTRACT,
        SCRIPTS,
    ),
    Mutation(
        "no lease is longer than the longest (script)",
        "runtime/redis/lease.lua",
        "math.min(tonumber(ARGV[2]), LEASE_LONGEST)",
        "tonumber(ARGV[2])",
        CONTRACT,
        SCRIPTS,
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize(
    ("tests", "select"), [(CONTRACT, MEMORY), (INDEXING, ""), (LEASES, WITHOUT_REDIS)]
)
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str, select: str) -> None:
    assert passes(copied, tests, select, {})


@pytest.mark.parametrize("mutation", PURE, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_the_suite_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)


@pytest.mark.real
@pytest.mark.parametrize("tests", [CONTRACT, OVERSHOOT])
def test_without_a_mutation_the_scripts_are_green(copied: Path, tests: str, redis_url: str) -> None:
    select = SCRIPTS if tests == CONTRACT else "redis"
    assert passes(copied, tests, select, {"STREAMS_TEST_REDIS": redis_url})


@pytest.mark.real
@pytest.mark.parametrize("mutation", LUA, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_of_a_script_turns_the_suite_red(
    copied: Path, mutation: Mutation, redis_url: str
) -> None:
    assert turns_red(copied, mutation, STREAMS_TEST_REDIS=redis_url)
