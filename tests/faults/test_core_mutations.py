"""Each rule of the decision has a named test that turns red when the rule is taken out.

As `test_mutations`, for the rules of the core: what evidence weighs, what is open, what is granted
and given back, and what feeds are told.

    pytest tests/faults/test_core_mutations.py
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

POSTERIOR = "tests/core/test_posterior.py"
OUTLOOK = "tests/core/test_outlook.py"
RULE = "tests/core/test_rule.py"
DISTRIBUTION = "tests/core/test_distribution.py"
SERVING = "tests/core/test_serving.py"
FOLD = "tests/core/test_fold.py"
STATE = "tests/core/test_state.py"
TICKS = "tests/core/test_ticks.py"
COUNTERS = "tests/core/test_counters.py"
RULES = [
    # what evidence weighs
    Mutation(
        "a slice's own variance counts",
        "core/posterior.py",
        "scale = noise + views * spec.own_variance",
        "scale = noise",
        POSTERIOR,
        "conjugate_normal",
    ),
    Mutation(
        "one crowd teaches another by the loadings",
        "core/posterior.py",
        "        l1, l2, l3 = specs[slice_id].loadings\n",
        "        l1 = l2 = l3 = 0\n",
        POSTERIOR,
        "raises_what_is_expected",
    ),
    Mutation(
        "what the crowds have in common is a part of the doubt",
        "core/posterior.py",
        "own * MICROS + common",
        "own * MICROS",
        POSTERIOR,
        "what_was_expected",
    ),
    Mutation(
        "who watches on also presses",
        "core/posterior.py",
        " + 2 * policy.noise_cross * together // MICROS",
        "",
        POSTERIOR,
        "also_presses",
    ),
    Mutation(
        "a flood of comments does not quieten the noise",
        "core/posterior.py",
        "if 0 < count < views:",
        "if count:",
        POSTERIOR,
        "more_comments_than_views",
    ),
    Mutation(
        "the noise has its floor",
        "core/posterior.py",
        "noise = max(noise, policy.noise_floor)",
        "pass",
        POSTERIOR,
        "falls_below_its_floor",
    ),
    Mutation(
        "learning pays as long as the horizon",
        "core/posterior.py",
        "psi(variance * spec.horizon // noise)",
        "psi(variance * spec.reach // noise)",
        POSTERIOR,
        "worth_of_learning",
    ),
    Mutation(
        "what a row says is weighed anew after a like",
        "core/fold.py",
        '    """Count one engagement."""\n    row.weighed = None\n',
        '    """Count one engagement."""\n',
        FOLD,
        "weighed_anew",
    ),
    Mutation(
        "what a row says is weighed anew after a view",
        "core/fold.py",
        "            row.weighed = None\n            ratio",
        "            ratio",
        FOLD,
        "weighed_anew",
    ),
    Mutation(
        "what a row says is weighed anew under another policy",
        "core/posterior.py",
        "known is None or known.policy is not policy",
        "known is None",
        POSTERIOR,
        "revalues_old_evidence",
    ),
    Mutation(
        "what a row says is weighed anew with other fits",
        "core/distribution.py",
        "            row.weighed = None\n",
        "            pass\n",
        DISTRIBUTION,
        "weighed_anew_after",
    ),
    # what is summed minute by minute
    Mutation(
        "the clock goes by the median of a run",
        "core/ticks.py",
        "sorted(run)[RUN // 2]",
        "max(run)",
        TICKS,
        "fewer_than_half",
    ),
    Mutation(
        "repeats do not move the clock",
        "core/fold.py",
        """            effects.outcomes[EVENT_TYPES[kind], "duplicate"] += 1
            skip((offset, element))
""",
        """            effects.outcomes[EVENT_TYPES[kind], "duplicate"] += 1
""",
        TICKS,
        "repeats_and_what",
    ),
    Mutation(
        "slices that anybody may name are summed together",
        "core/ticks.py",
        """slice_id if named else f"{surface_of(slice_id)}:\"""",
        "slice_id",
        TICKS,
        "outside_the_policy",
    ),
    Mutation(
        "an admission changes the class",
        "core/distribution.py",
        "            forget_sums(self.video)\n",
        "",
        TICKS,
        "before_an_admission",
    ),
    Mutation(
        "the digest covers the traffic",
        "core/state.py",
        "        digest += new - self._traffic_digest\n",
        "",
        FOLD,
        "and_the_traffic",
    ),
    # what is open
    Mutation(
        "a crowd not worth its price is not open",
        "core/outlook.py",
        'return prospect.gain >= 0 or surface_of(prospect.slice) == "following"',
        "return True",
        OUTLOOK,
        "not_worth_learning",
    ),
    Mutation(
        "no more crowds are open than the policy lets",
        "core/outlook.py",
        "return opened[: self.policy.open_max]",
        "return opened",
        DISTRIBUTION,
        "than_the_policy_lets",
    ),
    Mutation(
        "followers are refused no video",
        "core/outlook.py",
        ' or surface_of(prospect.slice) == "following"',
        "",
        OUTLOOK,
        "refused_no_video",
    ),
    Mutation(
        "what is active stays open whatever the price does",
        "core/rule.py",
        "return opened + sorted(",
        "return opened or sorted(",
        SERVING,
        "at_todays_price",
    ),
    Mutation(
        "a held video shows nothing before its release",
        "core/distribution.py",
        'if (before, self.video.row.stage) == ("limited", "public"):',
        "if before != self.video.row.stage and not record.limited:",
        DISTRIBUTION,
        "before_its_release",
    ),
    # what is granted and given back
    Mutation(
        "the tranche of a row that begins is charged to the budget",
        "core/distribution.py",
        "self.video.row.granted += tranche",
        "pass",
        DISTRIBUTION,
        "its_tranche_is_charged",
    ),
    Mutation(
        "a stop gives back what was not shown",
        "core/distribution.py",
        "left = max(row.allowance - row.impressions, 0)",
        "left = 0",
        DISTRIBUTION,
        "gives_back",
    ),
    Mutation(
        "an idle slice is asked again whether it is open by now",
        "core/rule.py",
        "    row.check_views = _later(row.views)\n    row.check_impressions = _later",
        "    row.check_views = NEVER\n    row.check_impressions = NEVER + _later",
        DISTRIBUTION,
        "came_back or price_falls or waits_for_a_budget",
    ),
    # what feeds are told
    Mutation(
        "the guarantee is owed",
        "core/serving.py",
        "    left = state.row.guarantee\n",
        "    left = 0\n",
        SERVING,
        "three_best",
    ),
    Mutation(
        "what a stopped crowd leaves of the guarantee is told to the next",
        "core/serving.py",
        "if due.get(name) != before.get(name)]",
        "if False]",
        SERVING,
        "moves_on_to_the_next",
    ),
    Mutation(
        "small moves do not add up unsaid",
        "core/serving.py",
        "now[slice_id] = known  # small",
        "now[slice_id] = score  # small",
        SERVING,
        "add_up_unsaid",
    ),
    Mutation(
        "a stopped slice is taken off",
        "core/serving.py",
        "rows[name].status not in _SHOWN]\n    open_ones",
        "False]\n    open_ones",
        SERVING,
        "stopped_slice_is_taken_off",
    ),
    Mutation(
        "a video that feeds were not told of stays in memory",
        "core/state.py",
        " and video not in self._untold",
        "",
        STATE,
        "not_told_of",
    ),
    # what is stored
    Mutation(
        "a row is cut only if everything behind its counters has its default",
        "core/counters.py",
        "    if kept == _UNTOUCHED:\n",
        "    if kept[2] == 0:\n",
        COUNTERS,
        "cut_to_its_counters",
    ),
    Mutation(
        "a row of another version is not read",
        "core/counters.py",
        "if version != ROW_VERSION:",
        "if False:",
        COUNTERS,
        "another_version",
    ),
    Mutation(
        "digits that change places leave a trace",
        "core/counters.py",
        "(1 << 127) - 25",
        "(1 << 127) - 1",
        COUNTERS,
        "changed_places",
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
