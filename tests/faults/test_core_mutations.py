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
SHARES = "tests/core/test_shares.py"
TICKS = "tests/core/test_ticks.py"
WINDOW = "tests/core/test_window.py"
DISTINCT = "tests/core/test_distinct.py"
RETURN = "tests/core/test_second_chance.py"
DELAY = "tests/core/test_delay.py"
REPORTS = "tests/core/test_reports.py"
COUNTERS = "tests/core/test_counters.py"
ADVERTS = "tests/core/test_adverts.py"
LIVE = "tests/core/test_live.py"
FADING = "tests/core/test_fading.py"
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
        "        l1, l2, l3 = policy.slices[slice_id].loadings\n",
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
        "core/distinct.py",
        "comments if comments <= others else others",
        "comments",
        POSTERIOR,
        "more_comments_than_views",
    ),
    Mutation(
        "the noise has its floor",
        "core/posterior.py",
        "noise = policy.noise_floor\n",
        "pass\n",
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
        "    kind = type(event)\n    row.weighed = None\n",
        "    kind = type(event)\n",
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
        "        known.policy is policy or (known",
        "        known.policy is not None or (known",
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
    # what fakes weigh
    Mutation(
        "a widening needs different viewers",
        "core/rule.py",
        "beats and viewers >= _widen_viewers(policy, row.stage)",
        "beats",
        DISTINCT,
        "thirty_different",
    ),
    Mutation(
        "a stop needs different viewers",
        "core/rule.py",
        "enough = viewers >= policy.stop_viewers",
        "enough = True",
        DISTINCT,
        "fifteen_different",
    ),
    Mutation(
        "a view weighs with its impression only",
        "core/distinct.py",
        "count, backing = row.views, row.impressions\n",
        "count, backing = row.views, NEVER\n",
        DISTINCT,
        "full_views_without_impressions or with_its_impression",
    ),
    Mutation(
        "the same viewer again and again leaves nothing to judge",
        "core/distinct.py",
        "    if viewers < backing:\n",
        "    if False:\n",
        DISTINCT,
        "empty_views_of_one_viewer or again_and_again",
    ),
    Mutation(
        "views beyond the allowance weigh nothing",
        "core/distinct.py",
        "return granted if granted < count else count",
        "return count",
        DISTINCT,
        "beyond_the_allowance",
    ),
    Mutation(
        "who was not shown the video presses in vain",
        "core/distinct.py",
        "    if not row.viewers & MARKS[code % VIEWER_BITS]:\n        return\n",
        "",
        DISTINCT,
        "presses_in_vain",
    ),
    Mutation(
        "buttons weigh about once a viewer who presses any",
        "core/distinct.py",
        "others = _PRESSED[row.pressers.bit_count()]",
        "others = views",
        DISTINCT,
        "once_a_viewer or who_waits",
    ),
    Mutation(
        "hides and reports weigh up to their share",
        "core/distinct.py",
        "annoyed = views * annoyed_share // MICROS",
        "annoyed = others",
        DISTINCT,
        "share_of_the_views",
    ),
    Mutation(
        "a viewer's first comment weighs, the others are counted",
        "core/fold.py",
        "first = window.is_first(event)",
        "first = True",
        DISTINCT,
        "viewers_first_weighs",
    ),
    Mutation(
        "a restart remembers who commented",
        "core/window.py",
        "                self.is_first(event)\n",
        "                pass\n",
        WINDOW,
        "filled_again",
    ),
    Mutation(
        "ids that count up spread",
        "core/distinct.py",
        "VIEWER_BITS: Final = 127",
        "VIEWER_BITS: Final = 128",
        DISTINCT,
        "count_up",
    ),
    Mutation(
        "an impression is weighed anew where views wait for theirs",
        "core/posterior.py",
        "known.waiting is policy and known.impressions == row.impressions",
        "known.waiting is policy",
        DISTINCT,
        "weighed_before",
    ),
    Mutation(
        "a grant weighs views of before anew",
        "core/distribution.py",
        ".granted += tranche\n        row.weighed = None\n",
        ".granted += tranche\n",
        DISTINCT,
        "further_grant",
    ),
    # what comes late
    Mutation(
        "young views count with the mean of buttons",
        "core/posterior.py",
        "    hoped = with_young(row, spec, buttons) - buttons\n",
        "    hoped = 0\n",
        DELAY,
        "late_likes_carry",
    ),
    Mutation(
        "views grow older by their bucket",
        "core/delay.py",
        "row.maturing = row.young if start == row.turn_ms else 0",
        "row.maturing = 0",
        DELAY,
        "previous_bucket",
    ),
    Mutation(
        "late buttons are a reason to judge",
        "core/fold.py",
        "if not is_late(row) or row.status not in judged:",
        "if True:",
        DELAY,
        "reason_to_judge",
    ),
    Mutation(
        "buttons ask three times at most",
        "core/delay.py",
        "if row.late_judgements >= LATE_JUDGEMENTS:",
        "if False:",
        DELAY,
        "three_times",
    ),
    Mutation(
        "what is only hoped for widens nothing",
        "core/rule.py",
        "        if hoped:  # it",
        "        if False:  # it",
        DELAY,
        "only_hoped",
    ),
    # what comes back
    Mutation(
        "what evidence stopped is looked at by command",
        "core/distribution.py",
        "        self._look(record.slices)\n",
        "        pass\n",
        RETURN,
        "when_somebody_asks",
    ),
    Mutation(
        "it is looked at when another crowd widens",
        "core/distribution.py",
        '(ruling and ruling.action == "widen")',
        "False",
        RETURN,
        "widening_looks",
    ),
    Mutation(
        "it is looked at once per twentieth of the views",
        "core/distribution.py",
        "views >= self.video.row.next_look or",
        "False or",
        RETURN,
        "twentieth",
    ),
    Mutation(
        "the margin doubles with each return",
        "core/rule.py",
        "policy.return_margin << row.returns",
        "0",
        RETURN,
        "within_the_margin",
    ),
    Mutation(
        "a slice comes back three times at most",
        "core/rule.py",
        "or row.returns >= MOST_RETURNS",
        "",
        RETURN,
        "three_are_the_most",
    ),
    Mutation(
        "only what the index stopped comes back",
        "core/distribution.py",
        "if row.cause != LAPSED or not self.outlook.reaches(slice_id, own):",
        "if row.cause != LAPSED:",
        RETURN,
        "moderations_word",
    ),
    Mutation(
        "fakes that leave nothing to judge bring nothing back",
        "core/rule.py",
        "return weighs and",
        "return",
        RETURN,
        "fakes_that_leave",
    ),
    Mutation(
        "a slice that came back is told to feeds",
        "core/distribution.py",
        "self.video.judged = self.video.controlled = True\n\n    def _admit",
        "pass\n\n    def _admit",
        RETURN,
        "feeds_are_told",
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
        "tuple(found[: self.policy.open_max])",
        "tuple(found)",
        DISTRIBUTION,
        "than_the_policy_lets",
    ),
    Mutation(
        "what is kept of one class of videos answers for no other one",
        "core/outlook.py",
        "said = (video.stage, video.band, video.commercial,",
        "said = (video.stage, 0, False,",
        OUTLOOK,
        "what_was_kept",
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
        "a guarantee runs from when the public may see the video",
        "core/serving.py",
        "deadline = state.row.owed_since + ",
        "deadline = state.row.admitted + ",
        SERVING,
        "from_when_the_public_may",
    ),
    Mutation(
        "a guarantee is given once",
        "core/distribution.py",
        "            if not self.video.row.guarantee:\n",
        "            if True:\n",
        SERVING,
        "given_once",
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
        "a verdict takes a forgotten video off every crowd",
        "core/serving.py",
        "maybe = () if is_known else",
        "maybe = () if True else",
        SERVING,
        "forgotten_video_takes_off",
    ),
    Mutation(
        "small moves do not add up unsaid",
        "core/serving.py",
        "now[slice_id] = known  # small",
        "pass  # small",
        SERVING,
        "add_up_unsaid",
    ),
    Mutation(
        "a first tranche is within the budget of the video",
        "core/serving.py",
        "if row is None and whole:",
        "if row is None:",
        SERVING,
        "without_rows",
    ),
    Mutation(
        "a stopped slice is taken off",
        "core/serving.py",
        "open_ones if row is None or row.status in _SHOWN else gone",
        "open_ones",
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
    # what is shared out
    Mutation(
        "what was tilted for hours is in the price",
        "core/outlook.py",
        " - policy.leans.get(name, 0)",
        "",
        OUTLOOK,
        "holding_the_shares",
    ),
    Mutation(
        "an old mix steers nobody",
        "core/traffic.py",
        " and abs(tick - event.mix) <= MIX_TICKS",
        "",
        TICKS,
        "is_steered",
    ),
    Mutation(
        "an advert is never one of ordinary people",
        "core/shares.py",
        "self.ceiling else kind in ORDINARY)",
        "self.ceiling else kind[0] != '5')",
        SHARES,
        "adverts_and_unknown",
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
    # when reports ask for a person
    Mutation(
        "who was not shown it reports in vain",
        "core/reports.py",
        "not policy.report_bar or not row.viewers & MARKS[code % VIEWER_BITS]",
        "not policy.report_bar",
        REPORTS,
        "not_shown",
    ),
    Mutation(
        "whoever reports again counts once",
        "core/reports.py",
        "if reporters & mark and",
        "if False and",
        REPORTS,
        "counts_once",
    ),
    Mutation(
        "impressions take away from reports",
        "core/reports.py",
        "(impressions - known.impressions) * policy.report_drain",
        "0",
        REPORTS,
        "take_away",
    ),
    Mutation(
        "reports do not fall below nothing",
        "core/reports.py",
        "known.sum = max(left, 0) + MICROS",
        "known.sum = left + MICROS",
        REPORTS,
        "take_away",
    ),
    Mutation(
        "moderation is asked once",
        "core/reports.py",
        "not reported.since and reported.sum",
        "reported.sum",
        REPORTS,
        "ask_for_a_person_once",
    ),
    Mutation(
        "a verdict doubles the bar",
        "core/reports.py",
        "policy.report_bar << min(reported.verdicts, MOST_DOUBLINGS)",
        "policy.report_bar",
        REPORTS,
        "doubles_the_bar",
    ),
    Mutation(
        "a verdict begins the reports anew",
        "core/reports.py",
        "Reported(0, known.impressions, 0, known.since",
        "Reported(known.sum, known.impressions, 0, known.since",
        REPORTS,
        "doubles_the_bar",
    ),
    Mutation(
        "an earlier verdict changes nothing",
        "core/reports.py",
        "if looked <= known.looked:",
        "if False:",
        REPORTS,
        "earlier_word",
    ),
    Mutation(
        "a takedown ends the asking",
        "core/distribution.py",
        """                self._end_review()
""",
        """                pass
""",
        REPORTS,
        "ends_the_asking",
    ),
    # what an advert gains by its value
    Mutation(
        "an advert cannot buy itself by orders",
        "core/adverts.py",
        "bare = without_orders(video)",
        "bare = video",
        ADVERTS,
        "can_not_buy",
    ),
    Mutation(
        "a bid counts a half to twice",
        "core/adverts.py",
        "return min(max(factor, FACTOR_LEAST), FACTOR_MOST)",
        "return max(factor, 1)",
        ADVERTS,
        "between_a_half",
    ),
    Mutation(
        "the rank of an advert moves by so much at most",
        "core/adverts.py",
        "return max(RANK_MOST * ln(factor) // _LN_2, -RANK_MOST)",
        "return 2 * RANK_MOST * ln(factor) // _LN_2",
        ADVERTS,
        "moves_a_rank",
    ),
    Mutation(
        "an advert is measured against organic traffic",
        "core/adverts.py",
        "policy.organic.get(name, spec.prior_mean)",
        "spec.prior_mean",
        ADVERTS,
        "as_good_as",
    ),
    Mutation(
        "only adverts have a factor",
        "core/serving.py",
        "if state.row.commercial:\n        return _scores",
        "if True:\n        return _scores",
        ADVERTS,
        "organic_videos",
    ),
    Mutation(
        "a factor is of the latest judgement",
        "core/serving.py",
        "state.factors = state.factors | factors",
        "state.factors = factors | state.factors",
        ADVERTS,
        "judgement_that_changes",
    ),
    # live rooms
    Mutation(
        "a view of a room is a share of thirty seconds",
        "core/live.py",
        "return replace(event, duration_ms=VIEW_MS) if isinstance(event, View) else event",
        "return event",
        LIVE,
        "thirty_seconds",
    ),
    Mutation(
        "every event of a room is met by itself",
        "core/state.py",
        'if own.format != "live":',
        "if True:",
        LIVE,
        "halves_every_five or share_of_thirty or fade_at_once",
    ),
    Mutation(
        "evidence of a room halves",
        "core/fading.py",
        "off, 0) >> times)",
        "off, 0))",
        LIVE,
        "halves_every_five",
    ),
    Mutation(
        "all crowds of a room fade at once",
        "core/live.py",
        "        fade(row, times)\n",
        "        fade(row, times if slice_id.endswith('football') else 0)\n",
        LIVE,
        "fade_at_once",
    ),
    Mutation(
        "the clock of a partition says when",
        "core/live.py",
        "state.traffic.tick // HALF_LIFE_TICKS",
        "max(event.ts // 60_000, state.traffic.tick) // HALF_LIFE_TICKS",
        LIVE,
        "from_the_future",
    ),
    Mutation(
        "feeds are told of what faded",
        "core/live.py",
        "    video.judged = True\n",
        "    pass\n",
        LIVE,
        "feeds_are_told_of_what_faded",
    ),
    Mutation(
        "a room comes back by what still weighs",
        "core/rule.py",
        "    seen = evidence_of(row)\n    weighs",
        "    seen = row\n    weighs",
        LIVE,
        "by_what_still_weighs",
    ),
    Mutation(
        "what no allowance covered never fades",
        "core/fading.py",
        "allowance=max(row.allowance - gone[_SHOWN] // PARTS, 0)",
        "allowance=row.allowance",
        FADING,
        "no_allowance_covered",
    ),
    Mutation(
        "buttons fade in the proportion of the views",
        "core/fading.py",
        "(2 * max(each, 0) * views + parts) // (2 * parts)",
        "max(each, 0) // PARTS",
        FADING,
        "mean_does_not_wander",
    ),
    Mutation(
        "what weighs no more is stored",
        "core/counters.py",
        "return _encode(spelled if row.faded is None else (*spelled, row.faded))",
        "return _encode(spelled)",
        LIVE,
        "comes_back_from_the_store",
    ),
    Mutation(
        "a room that ended closes everywhere",
        "core/distribution.py",
        'self._close("ended", "end", move="stop", stages=(ACTIVE, HELD))',
        'self._move_video("end")',
        LIVE,
        "receipt_says_so or not_shown_goes_back",
    ),
    Mutation(
        "a release opens no room that ended",
        "core/stages.py",
        '("ended", "release"): "ended"',
        '("ended", "release"): "public"',
        LIVE,
        "brings_a_room_back",
    ),
    Mutation(
        "reports of a room that ended ask nobody",
        "core/distribution.py",
        'if own.stage in {"removed", "ended"} or',
        'if own.stage == "removed" or',
        LIVE,
        "nobody_is_asked",
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
