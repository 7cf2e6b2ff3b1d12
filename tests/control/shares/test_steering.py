"""All promises of one minute: what they move, what keeps them, and what becomes of the prices."""

import pytest
from kit.control import RULES
from kit.events import WEIGHTS
from msgspec.structs import replace

from streams.control.shares.rules import ShareRules
from streams.control.shares.steering import (
    LEAN_STEP,
    SUPPLY_PART,
    Promises,
    begin,
    judged,
    leans_of,
    missing,
    private_slots,
    take_gains,
    take_tick,
    tilts_of,
    worth_of,
)
from streams.core.shares import ORDINARY
from streams.core.traffic import ClassSums
from streams.core.units import MICROS
from streams.runtime.leases import CLASSES
from streams.runtime.mixes import Promise

SHARES = RULES.policy.shares
TABS = ShareRules(SHARES.bars, SHARES.tilt_max, SHARES.term_max, SHARES.gain, feeds="tabs")
FRESH = begin(SHARES, ())
OF = 10_000


def minute(private: int = 40, ordinary: int = 80, ads: int = 5) -> dict[tuple[str, str], ClassSums]:
    """Return a minute's sums, by percent of all and of the public."""
    followed = OF * private // 100
    public = OF - followed
    counts = {
        ("following:fans", "3"): followed,
        ("discover:cars", "0"): public * ordinary // 100,
        ("discover:cars", "0c"): public * ads // 100,
    }
    counts["discover:cars", "5"] = OF - sum(counts.values())
    return {key: ClassSums(*key, impressions=count) for key, count in counts.items()}


def after(*, rules: ShareRules = SHARES, ticks: int = 1, **shares: int) -> Promises:
    promises = FRESH
    for _ in range(ticks):
        promises = judged(rules, take_tick(rules, promises, minute(**shares)), {}, measured=True)
    return promises


def named(promises: Promises) -> dict[str, Promise]:
    return {each.name: each for each in promises}


def test_promises_go_on_as_they_stood_under_rules_that_are_new() -> None:
    known = (Promise("ordinary", 600_000, owed=7, tilt=5, gain=9), Promise("commercial", 1))
    private, ordinary, _ = begin(SHARES, known)
    assert private == Promise("private", 300_000, gain=SHARES.gain)
    assert ordinary == Promise("ordinary", 700_000, owed=7, tilt=5, gain=9)


def test_what_holds_by_itself_moves_nothing() -> None:
    promises = after(ticks=50)
    assert tilts_of(promises, {}) == {}
    assert leans_of(promises, {}) == {}
    assert {each.short for each in promises} == {""}


def test_ordinary_people_are_raised_on_the_public_surfaces_alone() -> None:
    tilts = tilts_of(after(ordinary=60), {})
    assert set(tilts) == {f"{on}:{kind}" for on in ("discover", "nearby") for kind in ORDINARY}
    assert min(tilts.values()) > 0


def test_followed_creators_are_raised_where_feeds_blend_surfaces() -> None:
    tilts = tilts_of(after(private=20), {})
    assert set(tilts) == {f"following:{kind}" for kind in CLASSES}


def test_adverts_are_lowered_whoever_made_them() -> None:
    promises = after(ads=28, ordinary=71)
    tilts = tilts_of(promises, {})
    assert set(tilts) == {
        f"{on}:{kind}" for on in ("discover", "nearby") for kind in CLASSES if kind.endswith("c")
    }
    assert max(tilts.values()) < 0


def test_what_the_prices_lean_by_is_not_added_again() -> None:
    promises = after(ordinary=60)
    tilt = named(promises)["ordinary"].tilt
    leans = {"discover:0": 5_000, "discover:5": 1_000}
    tilts = tilts_of(promises, leans)
    assert (tilts["discover:0"], tilts["nearby:0"], tilts["discover:5"]) == (
        *(tilt - 5_000, tilt, -1_000),
    )


def test_prices_follow_the_slow_means_by_steps() -> None:
    def leaning(slow: int, leans: dict[str, int]) -> dict[str, int]:
        return leans_of((Promise("ordinary", 700_000, slow=slow),), leans)

    assert leaning(LEAN_STEP, {}) == {}
    first = leaning(LEAN_STEP + 1, {})
    assert set(first.values()) == {LEAN_STEP}
    assert leaning(2 * LEAN_STEP, first) == first
    assert set(leaning(3 * LEAN_STEP, first).values()) == {3 * LEAN_STEP}
    assert leaning(0, first) == first
    assert leaning(0, leaning(2 * LEAN_STEP, {})) == {}


def test_an_advert_s_price_leans_the_other_way() -> None:
    leans = leans_of((Promise("commercial", 150_000, slow=2 * LEAN_STEP),), {})
    assert leans["discover:5c"] == -2 * LEAN_STEP


@pytest.mark.parametrize("feeds", ["blend", "tabs"])
def test_where_viewers_choose_the_surface_a_share_is_said_to_be_theirs(feeds: str) -> None:
    rules = TABS if feeds == "tabs" else SHARES
    promises = after(rules=rules, private=20)
    private = named(promises)["private"]
    assert (private.short, private.owed > 0) == (
        ("surfaces", False) if feeds == "tabs" else ("", True)
    )
    assert private_slots(promises) == 4  # 30 % are promised, 10 points are missing


def test_slots_of_ten_are_what_was_promised_while_it_is_held() -> None:
    assert private_slots(after()) == 3
    assert private_slots(()) == 0


def test_a_class_that_has_nothing_left_to_show_is_short_of_supply() -> None:
    promises = take_tick(SHARES, FRESH, minute(ordinary=60))
    pace = named(promises)["ordinary"].pace
    enough = pace // SUPPLY_PART + 1
    for left, short in ((enough, ""), (enough - 2, "supply"), (0, "supply")):
        found = named(judged(SHARES, promises, {"ordinary": left}, measured=True))
        assert found["ordinary"].short == short
    assert [bar.name for bar in missing(SHARES, promises)] == ["ordinary"]


def test_what_is_out_of_reach_is_said_at_once() -> None:
    assert named(after(ordinary=10))["ordinary"].short == "bound"


def test_traffic_that_is_mostly_unknown_is_no_ground_to_owe_more() -> None:
    promises = take_tick(SHARES, FRESH, minute(ordinary=60))
    found = named(judged(SHARES, promises, {}, measured=False))
    assert found["ordinary"].short == "unmeasured"


def test_ordinary_people_yield_while_followers_are_short_at_the_bound() -> None:
    found = named(after(private=0, ordinary=60))
    assert (found["private"].short, found["ordinary"].short) == ("bound", "yields")
    assert named(after(private=0, ordinary=80, ads=18))["commercial"].short == ""


def test_gains_follow_the_scores() -> None:
    gaps = [0] * 4 + [400] * 4 + [0] * 8
    scored = {key: replace(each, gaps=gaps) for key, each in minute().items()}
    moved = named(take_gains(SHARES, FRESH, scored))
    assert moved["ordinary"].gain != SHARES.gain
    assert take_gains(SHARES, FRESH, minute()) == FRESH


def test_worth_is_that_of_views_under_the_weights() -> None:
    sums = ClassSums("discover:cars", "0", views=2, ratio_sum=MICROS, completes=1, likes=1, hides=1)
    expected = WEIGHTS.watch + WEIGHTS.complete + WEIGHTS.like + WEIGHTS.hide
    assert worth_of(WEIGHTS, {("discover:cars", "0"): sums}) == max(expected, 0)
