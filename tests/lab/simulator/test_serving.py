"""Feed servers: slots, room and allowances hold; what lagging counters cost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.lab.simulator.serving import (
    UNLIMITED,
    KnowingServers,
    LaggingServers,
    Offer,
    Question,
    beyond,
    by_rank,
)

SHAPE = (3, 20)


def a_question(slots: int, shown: np.ndarray | None = None, room: int = 1_000) -> Question:
    counts = np.zeros(SHAPE, np.int64) if shown is None else shown
    return Question(0, np.full(3, slots), np.full(SHAPE, room), counts)


def offered(allowance: int) -> Offer:
    scores = np.arange(60, dtype=float).reshape(SHAPE)
    return Offer(scores, np.full(SHAPE, allowance))


def test_the_best_come_first_a_tenth_of_the_slots_each() -> None:
    counts = KnowingServers().serve(offered(UNLIMITED), a_question(50))
    assert (counts[:, -10:] == 5).all()
    assert (counts[:, :-10] == 0).all()


def test_equal_scores_go_by_the_place_of_the_video() -> None:
    counts = by_rank(np.zeros(SHAPE), np.full(SHAPE, 4), np.full(3, 10))
    assert counts[0, :4].tolist() == [4, 4, 2, 0]


@given(st.integers(0, 300), st.integers(0, 90), st.integers(0, 100))
def test_a_server_that_knows_keeps_slots_room_and_allowances(
    slots: int, allowance: int, room: int
) -> None:
    shown = np.full(SHAPE, 40)
    question, offer = a_question(slots, shown, room), offered(allowance)
    counts = KnowingServers().serve(offer, question)
    assert (counts.sum(axis=1) <= question.slots).all()
    assert (counts <= room).all()
    assert (counts <= max(slots // 10, 1)).all()
    assert beyond(counts, offer, question) == 0


def shown_by(servers: KnowingServers | LaggingServers, ticks: int, allowance: int) -> np.ndarray:
    shown = np.zeros(SHAPE, np.int64)
    for tick in range(ticks):
        question = Question(tick, np.full(3, 300), np.full(SHAPE, 10_000), shown)
        counts = servers.serve(offered(allowance), question)
        assert (counts.sum(axis=1) <= 300).all()
        shown = shown + counts
    return shown


def test_a_fleet_with_lagging_counters_shows_more_than_was_allowed() -> None:
    assert shown_by(KnowingServers(), 20, allowance=60).max() == 60
    shown = shown_by(LaggingServers(), 20, allowance=60)
    assert 60 < shown.max() <= 60 + 4 * 30


def test_a_fleet_shows_nothing_before_its_caches_are_filled() -> None:
    assert not shown_by(LaggingServers(), 2, allowance=60).any()
    assert shown_by(LaggingServers(), 4, allowance=60).any()
