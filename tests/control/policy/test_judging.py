"""Held-out prediction: the truth scores best, and chance is told from a gain."""

import numpy as np
import pytest
from kit.events import policy
from kit.evidence import KEY, other_tastes, videos_of
from msgspec.structs import replace

from streams.control.policy.evidence import held_out, model_of, seen_in
from streams.control.policy.judging import Gain, gain_between, scores

VIDEOS = videos_of(other_tastes(), 400)
SEEN = seen_in(policy(), VIDEOS)
HELD = held_out(KEY, [*VIDEOS], [*policy().slices])


def test_the_truth_predicts_better_than_other_numbers() -> None:
    truth = other_tastes()
    best = scores(model_of(truth), SEEN, HELD)
    for field, factor in (("prior_mean", 1.4), ("own_variance", 4)):
        slices = {
            name: replace(spec, **{field: round(getattr(spec, field) * factor)})
            for name, spec in truth.slices.items()
        }
        assert (
            gain_between(scores(model_of(replace(truth, slices=slices)), SEEN, HELD), best).surely
            > 0
        )


def test_only_pairs_that_were_seen_and_are_held_out_have_a_score() -> None:
    known = np.isfinite(scores(model_of(policy()), SEEN, HELD))
    seen = np.array([[name in v.slices for name in policy().slices] for v in VIDEOS.values()])
    assert (known == (seen & HELD)).all()


def test_a_pair_held_out_does_not_predict_itself() -> None:
    changed = dict(VIDEOS)
    video, place = next((v, p) for v in range(400) for p in range(6) if HELD[v].tolist()[p])
    name, slice_id = f"v{video}", [*policy().slices][place]
    before = scores(model_of(policy()), SEEN, HELD)
    others = {s: row for s, row in VIDEOS[name].slices.items() if s != slice_id}
    changed[name] = type(VIDEOS[name])()
    changed[name].row, changed[name].slices = VIDEOS[name].row, others
    after = scores(model_of(policy()), seen_in(policy(), changed), HELD)
    rest = np.arange(6) != place
    assert np.array_equal(before[video][rest], after[video][rest], equal_nan=True)


def test_pairs_of_one_video_are_no_independent_witnesses() -> None:
    alone = gain_between(np.zeros((8, 1)), np.array([[1.0], [-1.0]] * 4))
    together = gain_between(np.zeros((2, 4)), np.array([[1.0] * 4, [-1.0] * 4]))
    assert together.error == pytest.approx(2 * alone.error)


def test_nothing_held_out_is_no_gain() -> None:
    nothing = np.full((3, 2), np.nan)
    assert gain_between(nothing, nothing) == Gain(0.0, 0.0, 0)
    assert Gain(0.0, 0.0, 0).surely == 0


def test_a_gain_says_in_words_how_large_and_how_sure_it_is() -> None:
    assert str(Gain(-0.0123, 0.004, 7)) == (
        "7 pairs held out are predicted worse by 0.0123 in log score a pair, standard error 0.0040"
    )
