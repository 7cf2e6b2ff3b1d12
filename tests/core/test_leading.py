"""Which policy comes into force: by term, then number, by the log alone."""

import pytest
from kit.events import FIXED, NOW, admit, policy
from kit.folding import Folding, placed
from kit.keys import TRUST

from streams.core.events import (
    RULE,
    LogRecord,
    Policy,
)
from streams.core.keys import read_trust
from streams.core.partition_control import Lead


def lead(term: int, name: str = "") -> Lead:
    return Lead(name or f"lead-{term}", NOW, term, "host-1")


def numbered(term: int, seq: int, **changes: object) -> Policy:
    return policy(id=f"policy-{term}-{seq}", term=term, seq=seq, **changes)


def folded(*events: LogRecord) -> Folding:
    return Folding().fold(placed(events)).flush()


def in_force(done: Folding) -> tuple[int, int]:
    assert done.state.policy is not None
    return done.state.policy.term, done.state.policy.seq


def test_a_policy_of_a_later_term_counts_whatever_its_number() -> None:
    done = folded(numbered(0, 1_700_000_000_000_000), lead(1), numbered(1, 1))
    assert in_force(done) == (1, 1)
    assert done.rejected == []


def test_a_policy_without_a_term_is_of_term_0() -> None:
    assert in_force(folded(FIXED)) == (0, 1)


def test_an_old_leader_is_refused_even_where_the_new_one_wrote_no_policy() -> None:
    done = folded(lead(1), numbered(1, 1), lead(2), lead(3), numbered(1, 2), numbered(2, 1))
    assert in_force(done) == (1, 1)
    assert [(one.offset, one.reason) for one in done.rejected] == [(4, "stale"), (5, "stale")]
    assert done.rejected[0].message == "policy 1.2 of an old leader, in term 3"


def test_a_policy_that_is_repeated_is_a_repeat_also_after_its_term() -> None:
    done = folded(lead(1), numbered(1, 1), lead(2), numbered(1, 1))
    assert done.outcomes["policy", "duplicate"] == 1
    assert done.rejected == []


@pytest.mark.parametrize("changed", [{"tranche": 21}, {"version": "fixed-2"}, {"by": "other"}])
def test_the_same_number_with_other_content_is_stale(changed: dict[str, object]) -> None:
    done = folded(lead(1), numbered(1, 1), numbered(1, 1, **changed))
    assert [one.message for one in done.rejected] == ["policy 1.1 again, with other content"]
    assert in_force(done) == (1, 1)
    assert done.state.policy == numbered(1, 1)


def test_of_two_leads_of_one_term_the_first_counts() -> None:
    done = folded(lead(4, "one"), lead(4, "other"), lead(4, "one"))
    assert [one.message for one in done.rejected] == ["term 4, and 4 is another's already"]
    assert done.outcomes["lead", "duplicate"] == 1
    trust = read_trust(done.meta.keys)
    assert (trust.term, trust.lead) == (4, "one")


def test_a_policy_says_by_which_rule_it_is_decided() -> None:
    assert FIXED.rule == RULE
    opened = folded(numbered(0, 1, rule=1), admit())
    assert {receipt.rule for receipt in opened.receipts} == {1}


def test_the_codec_and_the_fold_come_to_the_same_term() -> None:
    events = [lead(4, "one"), lead(4, "other"), lead(2), numbered(9, 1), lead(6)]
    trust = TRUST
    for place, event in enumerate(events, start=1):
        trust = trust.after(event)
        assert folded(*events[:place]).state.trust == trust
    assert (trust.term, trust.lead) == (6, "lead-6")


def test_the_term_survives_a_restart() -> None:
    done = folded(lead(2), numbered(2, 1)).restart([])
    done.fold(placed([numbered(1, 5)]))
    assert [one.reason for one in done.rejected] == ["stale"]
