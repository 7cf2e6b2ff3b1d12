"""What the keeper learned last, out of the policies that are kept."""

from typing import Any

from kit.control import NOW
from kit.events import COOKING, FIXED, FOOTBALL
from msgspec.structs import replace

from streams.core.events import Policy
from streams.ops.learned import learned_last, learned_lines
from streams.ops.policy import NO_ORDERS, PolicyHistory
from streams.runtime.policies import KeptPolicy

EVIDENCE = {"videos": 80, "pairs_held_out": 1_200}


def moved(base: Policy, slice_id: str, seq: int, **changes: Any) -> Policy:
    slices = {**base.slices, slice_id: replace(base.slices[slice_id], **changes)}
    why = "1,200 pairs held out are predicted better by 0.0210 in log score a pair"
    return replace(base, slices=slices, seq=seq, why=why, evidence=EVIDENCE)


TASTES = moved(FIXED, FOOTBALL, 2, prior_mean=370_000)
HORIZON = moved(TASTES, COOKING, 3, horizon=500)
FILES = replace(HORIZON, seq=4, tranche=30, evidence={}, why="files a -> b")
HISTORY = PolicyHistory(
    [KeptPolicy(each, NOW + each.seq) for each in (FIXED, TASTES, HORIZON, FILES)], NO_ORDERS
)


def test_it_is_the_latest_policy_with_evidence_whatever_the_files_said_since() -> None:
    learned = learned_last(HISTORY)
    assert learned is not None
    assert (learned.kept.policy.seq, learned.moved) == (3, "horizons of 1 slices")
    assert [each.name for each in learned.changes] == [f"{COOKING} horizon"]


def test_of_a_slice_it_is_what_moved_there() -> None:
    learned = learned_last(HISTORY, FOOTBALL)
    assert learned is not None
    assert (learned.kept.policy.seq, learned.moved) == (2, "mean 0.35 to 0.37")
    told = learned.as_object()
    assert (told["number"], told["evidence"]) == ("0.2", "80 videos, 1,200 pairs held out")
    lines = "\n".join(learned_lines(learned))
    assert "mean 0.35 to 0.37" in lines
    assert "predicted better by 0.0210 in log score a pair" in lines


def test_where_nothing_moved_it_says_so() -> None:
    assert learned_last(HISTORY, "discover:music") is None
    assert learned_last(PolicyHistory([KeptPolicy(FIXED, NOW)], NO_ORDERS)) is None
    assert "has moved nothing yet" in "".join(learned_lines(None))
