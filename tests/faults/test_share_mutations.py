"""Each rule of the shares has a named test that turns red when the rule is taken out.

As `test_mutations`, for the control law, the mix, and what feeds make of it.

    pytest tests/faults/test_share_mutations.py
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

LAW = "tests/control/shares/test_law.py"
STEERING = "tests/control/shares/test_steering.py"
MIXING = "tests/control/shares/test_mixing.py"
RULES_OF_FILE = "tests/control/shares/test_share_rules.py"
DUE = "tests/control/shares/test_due.py"
GAIN = "tests/control/shares/test_gain.py"
ORGANIC = "tests/control/shares/test_organic.py"
TABLE = "tests/runtime/test_mixes.py"
FEED = "tests/client/test_mixes.py"
CREATOR = "tests/ops/test_creator.py"
SUMS = "tests/core/test_creators.py"
LOOK = "tests/control/test_creators.py"
CEILING = "tests/control/shares/test_ceiling.py"
HELD = "tests/control/test_handicaps.py"
RULES = [
    Mutation(
        "where creators are few there is no ceiling",
        "control/shares/ceiling.py",
        "MICROS if active < CREATORS_LEAST else ",
        "",
        CEILING,
        "few_there_is_none or of_forty",
    ),
    Mutation(
        "the ceiling is never below some times the even share",
        "control/shares/ceiling.py",
        "max(rules.share, rules.times // active)",
        "rules.share",
        CEILING,
        "one_and_a_half_times",
    ),
    Mutation(
        "a handicap moves a step an hour at most",
        "control/shares/ceiling.py",
        "step = 0 if each.handicapped + STEP_MINUTES * MINUTE_MS > minute * MINUTE_MS else STEP",
        "step = STEP",
        CEILING,
        "once_an_hour",
    ),
    Mutation(
        "a handicap is bounded",
        "control/shares/ceiling.py",
        "min(max(wanted, 0), rules.handicap)",
        "max(wanted, 0)",
        CEILING,
        "never_passes",
    ),
    Mutation(
        "a handicap goes back as the share falls",
        "control/shares/ceiling.py",
        " or share * MICROS < ceiling * BACK:",
        ":",
        CEILING,
        "below_again",
    ),
    Mutation(
        "just below the ceiling a handicap stays",
        "control/shares/ceiling.py",
        "ceiling * BACK:",
        "ceiling * MICROS:",
        CEILING,
        "just_below",
    ),
    Mutation(
        "without counts of a day nobody goes down",
        "control/shares/ceiling.py",
        "if start is None or not is_on_time(day, start):",
        "if start is None:",
        CEILING,
        "saw_in_time",
    ),
    Mutation(
        "few impressions say nothing of shares",
        "control/shares/ceiling.py",
        "return public if sum(public.values()) >= FEW else None",
        "return public",
        CEILING,
        "few_impressions",
    ),
    Mutation(
        "the floor of ordinary people comes before the ceiling",
        "control/shares/ceiling.py",
        "yields = ordinary_first and each.band < BANDS - 1",
        "yields = False",
        CEILING,
        "ordinary_people_come_first",
    ),
    Mutation(
        "unmeasured partitions lower nobody",
        "control/handicaps.py",
        "mix is not None and not mix.unmeasured",
        "mix is not None",
        HELD,
        "unmeasured",
    ),
    Mutation(
        "a handicap is said in the leader's term",
        "control/handicaps.py",
        "handicap=above.handicap, term=term)",
        "handicap=above.handicap, term=99)",
        HELD,
        "old_leader",
    ),
    Mutation(
        "a handicap that a row has is not said again",
        "control/handicaps.py",
        "state.row.handicap != above.handicap and ",
        "",
        HELD,
        "within_the_hour",
    ),
    Mutation(
        "a crowd below ten is told to no creator",
        "ops/creator.py",
        "if each.viewers.bit_count() < CROWD_LEAST or taste is None:",
        "if taste is None:",
        CREATOR,
        "below_ten",
    ),
    Mutation(
        "few followers are not counted out",
        "ops/creator.py",
        "    if sum(row.viewers.bit_count() for row in rows) < CROWD_LEAST:\n        return None\n",
        "",
        CREATOR,
        "few_followers",
    ),
    Mutation(
        "what is usual is of several others",
        "ops/creator.py",
        " if len(usual.creators) >= OTHERS_LEAST else None",
        "",
        CREATOR,
        "several_others",
    ),
    Mutation(
        "a creator's own videos make nothing usual",
        "ops/creator.py",
        "            elif state.row.creator:",
        "            if state.row.creator:",
        CREATOR,
        "own_videos",
    ),
    Mutation(
        "a day that was looked at late bounds nothing",
        "core/creators.py",
        " or not is_on_time(each, start)",
        "",
        SUMS,
        "late_bounds",
    ),
    Mutation(
        "few private impressions tell no fall",
        "core/creators.py",
        " or before[1] < FEW",
        "",
        SUMS,
        "day_to_day",
    ),
    Mutation(
        "a day's first beginning stays",
        "runtime/memory/dossiers.py",
        "self.day_starts.setdefault(day, start)",
        "self.day_starts[day] = start",
        LOOK,
        "goes_on or began",
    ),
    Mutation(
        "within the dead band nothing moves",
        "control/shares/law.py",
        "    if abs(error) * MICROS <= DEAD_BAND * of:\n        return 0\n",
        "",
        LAW,
        "dead_band",
    ),
    Mutation(
        "a tick moves what is owed by a step at most",
        "control/shares/law.py",
        "min(max(error, -step), step)",
        "error",
        LAW,
        "tick_of_chance",
    ),
    Mutation(
        "what cannot be held is not saved up",
        "control/shares/law.py",
        "owed = min(max(owed + error, 0), most)",
        "owed = max(owed + error, 0)",
        LAW,
        "no_more_than_the_bound",
    ),
    Mutation(
        "while something keeps a share from being held no more is owed",
        "control/shares/law.py",
        'if before.short not in {"", "bound"} and error > 0:',
        "if False:",
        LAW,
        "nothing_more_is_owed",
    ),
    Mutation(
        "a ceiling counts the other way",
        "control/shares/law.py",
        "(-error if bar.ceiling else error) - under_way",
        "error - under_way",
        LAW,
        "ceiling_lowers",
    ),
    Mutation(
        "what tilts move already is not asked for again",
        "control/shares/law.py",
        "(-error if bar.ceiling else error) - under_way",
        "-error if bar.ceiling else error",
        LAW,
        "not_asked_for_again",
    ),
    Mutation(
        "what is under way is within reach",
        "control/shares/law.py",
        "under = promise.past[-1] if promise.past else promise.tilt\n    return",
        "under = promise.tilt\n    return",
        LAW,
        "within_reach",
    ),
    Mutation(
        "a mix that fades tells nothing of newcomers",
        "client/mixes.py",
        "self.mix is None or self.left < MICROS else",
        "self.mix is None or not self.left else",
        FEED,
        "kept_then_fades",
    ),
    Mutation(
        "a gain moves by four times at most",
        "control/shares/law.py",
        "promise.gain * 4)",
        "1 << 62)",
        LAW,
        "another_gain",
    ),
    Mutation(
        "the slow mean is bounded",
        "control/shares/law.py",
        "min(max(slow + step, 0), most)",
        "slow + step",
        LAW,
        "slow_mean",
    ),
    Mutation(
        "for followers surfaces compete, not videos of one slice",
        "control/shares/gain.py",
        '"" if bar.name == "private" else slice_id',
        "slice_id",
        GAIN,
        "surfaces_compete",
    ),
    Mutation(
        "where viewers choose the surface nothing is owed",
        "control/shares/steering.py",
        'bar.name == "private" and rules.feeds == "tabs"',
        "False",
        STEERING,
        "choose_the_surface",
    ),
    Mutation(
        "ordinary people yield to followers",
        "control/shares/steering.py",
        "if before_it and not bar.ceiling:",
        "if False:",
        STEERING,
        "yield",
    ),
    Mutation(
        "what the prices lean by is not added again",
        "control/shares/steering.py",
        "wanted.get(name, 0) - leans.get(name, 0) for name",
        "wanted.get(name, 0) for name",
        STEERING,
        "not_added_again",
    ),
    Mutation(
        "only the latest minutes are owed",
        "control/shares/mixing.py",
        "max(tick - OWED_TICKS, self._behind)",
        "self._behind",
        MIXING,
        "long_silence",
    ),
    Mutation(
        "a new leader counts no minute again",
        "control/shares/mixing.py",
        "max(tick - OWED_TICKS, self._behind)",
        "tick - OWED_TICKS",
        MIXING,
        "another_leader_goes_on",
    ),
    Mutation(
        "floors sum to no more than all",
        "control/shares/rules.py",
        "if private + ordinary > MICROS:",
        "if False:",
        RULES_OF_FILE,
        "refused_with_the_reason",
    ),
    Mutation(
        "a bound of nothing is refused",
        "control/shares/rules.py",
        "0 < value <= most",
        "0 <= value <= most",
        RULES_OF_FILE,
        "refused_with_the_reason",
    ),
    Mutation(
        "newcomers get a bounded share of the slots",
        "control/shares/due.py",
        "min(share, DUE_MOST)",
        "share",
        DUE,
        "more_than_may_be or always_a_share",
    ),
    Mutation(
        "the latest leader counts",
        "runtime/mixes.py",
        "return mix.term, mix.seq",
        "return mix.seq, mix.term",
        TABLE,
        "latest_leader",
    ),
    Mutation(
        "a mix is signed",
        "runtime/mixes.py",
        "        require_signature(record, trust, None)\n",
        "",
        TABLE,
        "nobody_in_force",
    ),
    Mutation(
        "an old mix fades",
        "runtime/mixes.py",
        "return min(max(MICROS - (age_ms - KEPT_MS) * MICROS // FADED_MS, 0), MICROS)",
        "return MICROS",
        TABLE,
        "fades",
    ),
    Mutation(
        "who begins with an old mix takes it for what it is",
        "client/mixes.py",
        "        if first:\n",
        "        if False:\n",
        FEED,
        "begins_with_an_old",
    ),
    Mutation(
        "what is looked at is ranked as it is leased",
        "client/leases.py",
        "self._index.top(name, depth, mix.tilts(name))",
        "self._index.top(name, depth)",
        FEED,
        "goes_by_the_mix",
    ),
    Mutation(
        "an impression names the mix",
        "client/leases.py",
        "over_at, mix.seq, lease.factor",
        "over_at, None, lease.factor",
        FEED,
        "goes_by_the_mix",
    ),
    Mutation(
        "orders are no part of what is usual",
        "control/shares/organic.py",
        "bare = replace(weights, order=0)",
        "bare = weights",
        ORGANIC,
        "orders_are_no_part",
    ),
    Mutation(
        "adverts are no part of what is usual",
        "control/shares/organic.py",
        "if kind != UNKNOWN and not is_commercial(kind):",
        "if True:",
        ORGANIC,
        "neither_adverts",
    ),
    Mutation(
        "few views say nothing",
        "control/shares/organic.py",
        "views >= LEAST_VIEWS",
        "views",
        ORGANIC,
        "few_views",
    ),
    Mutation(
        "a mean follows in steps",
        "control/shares/organic.py",
        ">= MEAN_STEP",
        "> 0",
        ORGANIC,
        "step_off",
    ),
    Mutation(
        "a frozen mean stays",
        "control/shares/mixing.py",
        '["shares", "organic"], policy.frozen',
        '["shares", "organic"], ()',
        MIXING,
        "operators_hold or organic_traffic",
    ),
    Mutation(
        "more or fewer impressions alone move no tilt",
        "control/shares/law.py",
        "owed = _at_pace(before, pace)",
        "owed = before.owed",
        LAW,
        "impressions_alone",
    ),
    Mutation(
        "another pace loses nothing of what is owed",
        "control/shares/law.py",
        "(before.owed * pace + before.pace // 2) // before.pace",
        "before.owed * pace // before.pace",
        LAW,
        "lumps_of_few",
    ),
    Mutation(
        "a tilt is lowered by the mix with which the prices lean",
        "control/shares/mixing.py",
        "steering.tilts_of(promises, self._leans(promises, policy))",
        "(self._leans(promises, policy), steering.tilts_of(promises, policy.leans))[1]",
        MIXING,
        "very_mix",
    ),
    Mutation(
        "where no policy follows tilts are whole again",
        "control/shares/mixing.py",
        "if before is not None and before != policy.leans:",
        "if False:",
        MIXING,
        "no_policy_follows",
    ),
    Mutation(
        "what a tilt moves is told at the cut",
        "control/shares/gain.py",
        "(at_edge + rate * sum(gaps[: full + 1]))",
        "gaps[full]",
        GAIN,
        "wherever_in_a_bucket",
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("tests", sorted({m.tests for m in RULES}))
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str) -> None:
    selects = {m.select for m in RULES if m.tests == tests}
    assert passes(copied, tests, " or ".join(sorted(selects)), {})


@pytest.mark.parametrize("mutation", RULES, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_its_test_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)
