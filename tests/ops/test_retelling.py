"""What is told of one event is what the fold made of it, for every event of a log of everything."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pytest
from kit.events import (
    HOUR_MS,
    NOW,
    Logged,
    interaction_record,
    like,
    policy,
    record,
    signed_record,
    synthetic_log,
    unlike,
    videos_of,
    view,
)
from kit.folding import Folding, decoded
from kit.keys import INSTALLATION, SPELLING, STRANGER, TRUST
from kit.twins import settings_of

from streams.core.events import InteractionRecord
from streams.ops.retelling import Fortune, Retelling, Spot
from streams.runtime.codec import decode_log
from streams.runtime.signing import Signer, encode

OUTCOMES = {"applied": "counted", "late": "late", "duplicate": "duplicate", "invalid": "refused"}


def folded(log: Sequence[Logged], generation: int, partitions: int) -> dict[str, dict[Spot, str]]:
    """Return what the fold makes of each interaction, folded one by one: by id, then by place."""
    folding = Folding(generation, log[0].partition, partitions)
    truth: dict[str, dict[Spot, str]] = {}
    for one in decoded(log):
        before = Counter(folding.outcomes)
        folding.fold([one])
        (kind, outcome), *more = (folding.outcomes - before).keys()
        if isinstance(one.event, InteractionRecord):
            assert not more, kind
            spot = (log[0].partition, one.offset, one.element)
            truth.setdefault(one.event.id, {})[spot] = OUTCOMES[outcome]
    return truth


def told(
    log: Sequence[Logged], event_id: str, generation: int = 10_000, partitions: int = 1
) -> Mapping[Spot, Fortune]:
    return tell(log, [event_id], generation, partitions)[event_id]


def tell(
    log: Sequence[Logged], ids: Iterable[str], generation: int, partitions: int
) -> dict[str, Mapping[Spot, Fortune]]:
    settings = settings_of(generation_records=generation)
    refused = {one.offset for one in decode_log(log, TRUST, SPELLING).refusals}
    pairs: dict[str, set[tuple[str, str]]] = {}
    for one in decoded(log):
        if isinstance(one.event, InteractionRecord):
            pairs.setdefault(one.event.id, set()).add((one.event.viewer, one.event.video))
    retellings = {name: Retelling(name, pairs[name], partitions, settings) for name in ids}
    for one in log:
        for retelling in retellings.values():
            retelling.take(one, refused=one.offset in refused)
    return {name: retelling.fortunes for name, retelling in retellings.items()}


@pytest.mark.parametrize(("seed", "generation"), [(4, 10_000), (5, 60), (7, 25)])
def test_it_agrees_with_the_fold_about_every_event(seed: int, generation: int) -> None:
    log = synthetic_log(seed, events=300, partition=1, partitions=2)
    truth = folded(log, generation, 2)
    assert {outcome for places in truth.values() for outcome in places.values()} == set(
        OUTCOMES.values()
    )
    for event_id, found in tell(log, truth, generation, 2).items():
        assert {spot: one.outcome for spot, one in found.items()} == truth[event_id], event_id


def test_a_repeat_names_the_offset_that_counted() -> None:
    log = [interaction_record(view("e1"), 3), interaction_record([view("e2"), view("e1")], 7)]
    assert told(log, "e1") == {
        (0, 3, 0): Fortune("counted"),
        (0, 7, 1): Fortune("duplicate", "of offset 3"),
    }


def test_a_state_that_is_set_already_says_so() -> None:
    log = [
        interaction_record(like("e1"), 0),
        interaction_record(like("e2"), 1),
        interaction_record(unlike("e3"), 2),
        interaction_record(unlike("e4"), 3),
    ]
    assert told(log, "e2")[0, 1, 0] == Fortune("duplicate", "the viewer likes the video already")
    assert told(log, "e3")[0, 2, 0] == Fortune("counted")
    assert told(log, "e4")[0, 3, 0] == Fortune("duplicate", "no like of the viewer is in force")


def test_a_policy_that_was_refused_makes_nothing_late() -> None:
    harsh = signed_record(policy(seq=5, late_after_ms=1_000), 0)
    late = [
        interaction_record(view("new"), 1),
        interaction_record(view("old", ts=NOW - HOUR_MS // 2), 2),
    ]
    assert told([harsh, *late], "old")[0, 2, 0].outcome == "late"
    forged = signed_record(
        policy(seq=5, late_after_ms=1_000), 0, signer=Signer(INSTALLATION.id, STRANGER)
    )
    assert told([forged, *late], "old")[0, 2, 0].outcome == "counted"


def test_what_is_in_the_wrong_partition_is_refused() -> None:
    stray = videos_of(0, 2, 1)[0]
    log = [record(encode(view("e1", video=stray)), 0, partition=1)]
    [fortune] = told(log, "e1", partitions=2).values()
    assert fortune.outcome == "refused"
    assert "another partition" in str(fortune.why)
