"""What follows on a policy in force when files or wishes change, number by number."""

from typing import Any

import pytest
from kit.events import COOKING, FIXED, FOOTBALL, MUSIC, WEIGHTS
from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.control.policy.succession import ROUTINE, successor
from streams.core.events import Policy
from streams.core.halves import unplaced
from streams.runtime.policies import Orders

NAMED = versioned(replace(FIXED, version="fixed", term=0))
FILES = replace(NAMED, files=NAMED.version)
OTHER_WEIGHTS = replace(WEIGHTS, like=1)


def files(**changes: Any) -> Policy:
    """Return the draft of changed files."""
    named = versioned(replace(FIXED, version="fixed", **changes))
    return replace(named, files=named.version)


def with_spec(policy: Policy, slice_id: str = FOOTBALL, **changes: Any) -> Policy:
    spec = replace(policy.slices[slice_id], **changes)
    return replace(policy, slices={**policy.slices, slice_id: spec})


def learned(policy: Policy = FILES, **more: Any) -> Policy:
    """Return a policy in force of which prices and horizons were moved, in term 3."""
    moved = with_spec(policy, price=7, horizon=8)
    named: dict[str, Any] = {"moved": ("horizons", "prices"), "term": 3, "seq": 9}
    return versioned(replace(moved, **(named | more)))


def test_the_first_policy_is_that_of_the_files() -> None:
    first = successor(FILES, None)
    assert unplaced(first) == unplaced(FILES)
    assert first.version == FILES.version == first.files


def test_the_key_that_draws_is_made_with_the_first_policy_that_draws_and_stays() -> None:
    drawing = replace(files(explore_probability=50_000), explore_key="first")
    assert successor(replace(FILES, explore_key="first"), learned()).explore_key == ""
    assert successor(drawing, None).explore_key == "first"
    began = successor(drawing, learned())
    assert began.explore_key == "first"
    later = replace(drawing, explore_key="second")
    assert unplaced(successor(later, began)) == unplaced(replace(began, why=ROUTINE))
    assert successor(replace(FILES, explore_key="second"), began).explore_key == "first"
    assert began.version == successor(later, learned()).version


def test_unchanged_files_change_nothing_of_what_was_learned() -> None:
    assert unplaced(successor(FILES, learned())) == unplaced(learned())


def test_changed_files_replace_the_operators_half_and_leave_the_learned_one() -> None:
    changed = files(tranche=77)
    after = successor(changed, learned())
    assert after.tranche == 77
    assert after.slices == learned().slices
    assert after.moved == ("horizons", "prices")
    assert after.why == f"files {FILES.files} -> {changed.files}"
    assert after.version not in {learned().version, changed.version}


def test_a_number_that_never_moved_is_launched_again_by_the_files() -> None:
    changed = files(slices=with_spec(FILES, prior_mean=5, price=5).slices)
    spec = successor(changed, learned()).slices[FOOTBALL]
    assert (spec.prior_mean, spec.price, spec.horizon) == (5, 7, 8)


def test_a_slice_that_is_new_has_the_numbers_of_the_files() -> None:
    fewer = {name: spec for name, spec in learned().slices.items() if name != MUSIC}
    after = successor(FILES, learned(replace(FILES, slices=fewer)))
    assert after.slices[MUSIC] == FILES.slices[MUSIC]
    assert after.slices[FOOTBALL].price == 7


def test_other_weights_reset_what_was_learned_and_say_so() -> None:
    changed = files(weights=OTHER_WEIGHTS)
    after = successor(changed, learned())
    assert unplaced(after) == unplaced(changed)
    assert "other weights: what was learned is reset" in after.why


def test_what_the_files_freeze_has_their_number_again() -> None:
    after = successor(files(frozen=("prices",)), learned())
    assert after.slices[FOOTBALL].price == FILES.slices[FOOTBALL].price
    assert after.slices[FOOTBALL].horizon == 8
    assert after.moved == ("horizons",)


def test_what_an_operator_freezes_stays_as_it_is() -> None:
    after = successor(FILES, learned(), Orders(0, "k", frozen=("prices",), why="odd night"))
    assert after.slices == learned().slices
    assert after.frozen == ("prices",)
    assert after.why == "frozen: prices (by k: odd night)"
    again = successor(FILES, after, Orders(0, "k"))
    assert (again.frozen, again.why) == ((), "frozen: nothing (by k)")


def test_a_pinned_half_is_that_of_its_policy_and_its_weights_stay_the_files() -> None:
    earlier = learned(with_spec(FILES, COOKING, prior_mean=4), term=1, seq=2)
    after = successor(FILES, learned(), Orders(0, "k", pinned="1.2"), earlier)
    assert after.slices == earlier.slices
    assert after.pinned == "1.2"
    assert after.moved == ("means", "horizons", "prices")
    assert after.why == "pinned at 1.2 (by k)"
    assert unplaced(successor(FILES, after, Orders(0, "k", pinned="1.2"), earlier)) == unplaced(
        after
    )


def test_without_a_pin_what_was_pinned_is_where_learning_goes_on() -> None:
    pinned = successor(FILES, learned(), Orders(0, "k", pinned="0.1"), FILES)
    after = successor(FILES, pinned)
    assert after.slices == pinned.slices
    assert (after.pinned, after.why) == ("", "pinned no more")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (None, "not pinned: policy 1.2 is not known"),
        (learned(files(weights=OTHER_WEIGHTS)), "policy 1.2 was learned with other weights"),
    ],
)
def test_what_cannot_be_pinned_says_why_and_changes_nothing(
    source: Policy | None, why: str
) -> None:
    after = successor(FILES, learned(), Orders(0, "k", pinned="1.2"), source)
    assert unplaced(after) == unplaced(learned())
    assert why in after.why


def test_a_policy_of_before_there_were_halves_counts_as_launched() -> None:
    older = replace(FIXED, version="fixed-0badcafe", tranche=99)
    after = successor(FILES, older)
    assert unplaced(after) == unplaced(FILES)
    assert after.why == f"files fixed-0badcafe -> {FILES.files}"
