"""What simulated creators write is something for the rules of `config/` to work on."""

from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from streams.control.admission.recognise import Recogniser
from streams.control.admission.review import ReviewGate
from streams.control.policy.catalogue import Catalogue
from streams.core.events import Upload
from streams.lab.uploads import DARING, DOUBTFUL, FORBIDDEN, SUBJECTS, draw_upload

CONFIG = Path(__file__).parents[2] / "config"
NOW = 1_700_000_000_000
RECOGNISER = Recogniser.from_config(CONFIG)
CATALOGUE = Catalogue.from_toml(CONFIG / "slices.toml")
GATE = ReviewGate.from_toml(CONFIG / "review.toml")


def drawn(subject: str, seed: int = 1) -> Upload:
    return draw_upload(Random(seed), 1, subject, "沈阳", NOW)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_title_fits_its_own_crowd_best_and_needs_no_moderator(subject: str) -> None:
    for title in SUBJECTS[subject].titles:
        for hashtag in SUBJECTS[subject].hashtags:
            upload = replace(drawn(subject), title=title, hashtags=(hashtag,), music=None, scene="")
            tags = RECOGNISER.recognise(upload)
            rule = GATE.first_rule(upload, tags)
            assert rule is not None
            assert rule.verdict == "approve", title
            matches = [slice_id for slice_id, _ in CATALOGUE.matches(tags, upload.city)]
            best = [slice_id for slice_id in matches if slice_id.startswith("discover:")][:2]
            assert f"discover:{subject}" in best, title
            assert "nearby:shenyang" in matches


@pytest.mark.parametrize(
    ("title", "verdict"),
    [(DOUBTFUL, "wait"), (DARING + "village football", "limit"), (FORBIDDEN, "reject")],
)
def test_special_titles_meet_the_rule_that_they_are_for(title: str, verdict: str) -> None:
    upload = replace(drawn("football"), title=title)
    rule = GATE.first_rule(upload, RECOGNISER.recognise(upload))
    assert rule is not None
    assert rule.verdict == verdict


def test_lengths_and_followers_have_the_spread_of_real_ones() -> None:
    uploads = [drawn("food", seed) for seed in range(500)]
    lengths = sorted(upload.duration_ms for upload in uploads)
    followers = sorted(upload.followers for upload in uploads)
    assert 30_000 < lengths[250] < 90_000
    assert 30 < followers[250] < 100
    assert followers[-1] > 5_000
