import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.control.admission.recognise import Recogniser
from streams.control.admission.taxonomy import DIMENSIONS, TagKey, Taxonomy
from streams.control.policy.catalogue import Catalogue
from streams.core.events import Tag, Upload
from streams.core.units import SLICES_PER_VIDEO, is_slice
from streams.errors import Halt

CONFIG = Path(__file__).parents[3] / "config"
SHIPPED = Catalogue.from_toml(CONFIG / "slices.toml")
TAXONOMY = Taxonomy.from_toml(CONFIG / "taxonomy.toml")

NUMBERS = {
    "reach": 1_000,
    "prior_mean": 0.35,
    "prior_variance": 0.02,
    "noise_variance": 0.1,
    "price": 0.32,
}
FANS = {"id": "following:fans", **NUMBERS}
BROAD = {"id": "discover:all", **NUMBERS}
BALL = {
    "id": "discover:ball",
    **NUMBERS,
    "tags": {"interest.football": 1, "scene.pitch": 0.5},
}
COOK = {"id": "discover:cook", **NUMBERS, "tags": {"interest.cooking": 0.8}}
SHENYANG = {"id": "nearby:shenyang", **NUMBERS, "cities": ["沈阳", "Shenyang"]}

known_tags = st.sampled_from(sorted(TAXONOMY.implies))
tags = st.lists(
    st.builds(lambda key, sure: Tag(*key, sure), known_tags, st.integers(0, 1_000_000)),
    max_size=8,
    unique_by=lambda tag: (tag.dimension, tag.name),
)


def catalogue(*slices: dict[str, object], default: str = "discover:all") -> Catalogue:
    data = {"default": default, "slice": [FANS, BROAD, *slices]}
    return Catalogue.parse(data, known=TAXONOMY.implies, where="slices.toml")


def football(sure: int) -> Tag:
    return Tag("interest", "football", sure)


# -------------------------------------------------------------------- the shipped catalogue


def test_the_shipped_catalogue_has_fans_some_thirty_crowds_and_the_cities() -> None:
    by_surface: dict[str, list[str]] = {"following": [], "nearby": [], "discover": []}
    for spec in SHIPPED.slices.values():
        by_surface[spec.surface].append(spec.id)
    assert by_surface["following"] == ["following:fans"]
    assert 28 <= len(by_surface["discover"]) <= 35
    assert len(by_surface["nearby"]) >= 12
    assert len(SHIPPED.slices) <= SLICES_PER_VIDEO


def test_the_numbers_of_the_shipped_catalogue_are_plausible() -> None:
    for spec in SHIPPED.slices.values():
        policy = spec.policy
        assert is_slice(spec.id)
        assert 200_000 <= policy.reach <= 5_000_000
        assert 280_000 <= policy.price < policy.prior_mean <= 450_000, spec.id
        assert 10_000 <= policy.own_variance <= 30_000
        assert 60_000 <= policy.noise_variance <= 150_000
        assert spec.neighbours, spec.id


def test_what_the_shipped_neighbours_share_becomes_loadings_and_variance_is_kept() -> None:
    in_force = SHIPPED.slice_policies(400)
    assert in_force.keys() == SHIPPED.slices.keys()
    for name, spec in in_force.items():
        common = sum(each * each for each in spec.loadings) // 10**6
        whole = SHIPPED.slices[name].policy.own_variance
        assert spec.own_variance + common == pytest.approx(whole, abs=2), name
        assert spec.own_variance >= whole // 20
        assert spec.horizon == 400
    shared = [spec for spec in in_force.values() if any(spec.loadings)]
    assert len(shared) > len(in_force) // 2


def test_every_interest_of_the_taxonomy_has_a_crowd() -> None:
    for key in TAXONOMY.implies:
        if key.dimension == "interest":
            fits = dict(SHIPPED.matches([Tag(*key, 1_000_000)], ""))
            assert fits[f"discover:{key.name}"] == 1_000_000


@pytest.mark.parametrize(
    ("title", "city", "best"),
    [
        ("周末村超足球赛", "沈阳市", ("following:fans", "nearby:shenyang", "discover:football")),
        ("大妈们的广场舞", "", ("following:fans", "discover:square-dance", "discover:seniors")),
        ("Easy dinner recipes", "Xi'an", ("following:fans", "nearby:xian", "discover:cooking")),
        ("xyz", "Atlantis", ("following:fans",)),
    ],
)
def test_whom_an_upload_fits_best(title: str, city: str, best: tuple[str, ...]) -> None:
    video = Upload("u1", "v1", "c1", 1_700_000_000_000, 15_000, title=title, city=city)
    found = Recogniser(TAXONOMY).recognise(video)
    fits = {name: fit for name, fit in SHIPPED.matches(found, video.city) if fit}
    assert set(best) <= set(fits)
    crowds = [name for name in fits if name.startswith("discover:")]
    wanted = [name for name in best if name.startswith("discover:")]
    assert sorted(crowds[: len(wanted)]) == sorted(wanted)


@given(tags, st.sampled_from(["沈阳", "上海", "", "nowhere"]))
def test_matches_hold_every_crowd_once_best_first(found: list[Tag], city: str) -> None:
    matches = SHIPPED.matches(found, city)
    assert matches == tuple(sorted(matches, key=lambda match: (-match[1], match[0])))
    assert all(0 <= fit <= 1_000_000 for _, fit in matches)
    public = [name for name, _ in matches if name.startswith("discover:")]
    assert sorted(public) == sorted(name for name in SHIPPED.slices if "discover:" in name)
    assert ("following:fans", 1_000_000) in matches


@given(tags, st.randoms())
def test_the_order_of_tags_changes_nothing(found: list[Tag], chance: Random) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert SHIPPED.matches(shuffled, "") == SHIPPED.matches(found, "")


@given(tags, known_tags, st.integers(0, 1_000_000))
def test_one_more_tag_never_lowers_a_fit(found: list[Tag], key: TagKey, sure: int) -> None:
    before, after = (
        dict(SHIPPED.matches(found, "")),
        dict(SHIPPED.matches([*found, Tag(*key, sure)], "")),
    )
    assert all(after[name] >= fit for name, fit in before.items())


# -------------------------------------------------------------------- fits


def test_the_fit_is_confidence_times_weight() -> None:
    cook = catalogue(COOK).slices["discover:cook"]
    assert cook.fit([Tag("interest", "cooking", 500_000)]) == 400_000
    assert cook.fit([football(1_000_000)]) == 0
    assert cook.fit([]) == 0


def test_several_reasons_to_care_add_up_as_chances() -> None:
    ball = catalogue(BALL).slices["discover:ball"]
    assert ball.fit([football(500_000), Tag("scene", "pitch", 400_000)]) == 600_000


def test_a_tag_that_the_taxonomy_lacks_fits_nobody() -> None:
    ball = catalogue(BALL).slices["discover:ball"]
    assert ball.fit([Tag(dimension, "new", 1_000_000) for dimension in DIMENSIONS]) == 0


@pytest.mark.parametrize("city", ["沈阳", "沈阳市", " shenyang ", "SHENYANG", "Shenyang City"])
def test_a_city_is_known_in_its_spellings(city: str) -> None:
    assert catalogue(SHENYANG).nearby(city) == "nearby:shenyang"


@pytest.mark.parametrize("city", ["", "市", "沈", "大连", "shen"])
def test_an_unknown_city_has_no_slice(city: str) -> None:
    assert catalogue(SHENYANG).nearby(city) is None


# -------------------------------------------------------------------- reading


def test_decimals_become_micros_and_bare_neighbours_stay_on_their_surface() -> None:
    near = {**BALL, "neighbours": {"cook": 0.25, "nearby:shenyang": 1}}
    spec = catalogue(near, COOK, SHENYANG).slices["discover:ball"]
    assert (spec.policy.reach, spec.policy.prior_mean) == (1_000, 350_000)
    assert (spec.policy.own_variance, spec.policy.noise_variance) == (20_000, 100_000)
    assert spec.policy.price == 320_000
    assert spec.neighbours == {"discover:cook": 250_000, "nearby:shenyang": 1_000_000}


def test_a_slice_may_have_a_horizon_of_its_own() -> None:
    spec = catalogue({**BALL, "horizon": 70}, COOK).slice_policies(400)
    assert (spec["discover:ball"].horizon, spec["discover:cook"].horizon) == (70, 400)


def test_a_slice_may_have_its_own_buttons_and_their_delay() -> None:
    late = {**BALL, "button_mean": 0.125, "delay_s": 90}
    specs = catalogue(late, {**COOK, "delay_s": 0}).slice_policies(400, 80_000, 10_000)
    own, other = specs["discover:ball"], specs["discover:cook"]
    assert (own.button_mean, own.delay_ms) == (125_000, 90_000)
    assert (other.button_mean, other.delay_ms) == (80_000, 0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"button_mean": 80_000}, "button_mean: 80000 is out of range: use value per view"),
        ({"delay_s": -1}, "write a whole number from 0 to 86400"),
        ({"delay_s": 1.5}, "delay_s"),
    ],
)
def test_buttons_and_delays_that_cannot_be_are_refused_by_name(
    wrong: dict[str, object], says: str
) -> None:
    with pytest.raises(Halt, match=says) as caught:
        catalogue({**BALL, **wrong}, COOK)
    assert "slice discover:ball" in str(caught.value)


def test_neighbours_count_both_ways_as_the_larger_word() -> None:
    both = catalogue({**BALL, "neighbours": {"cook": 0.25}}, {**COOK, "neighbours": {"ball": 0.6}})
    pair = ("discover:ball", "discover:cook")
    assert both.alike[pair] == both.alike[pair[::-1]] == 0.6


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        SHIPPED.slices["discover:x"] = SHIPPED.slices["discover:food"]  # type: ignore[index]


def test_the_order_of_the_file_changes_nothing() -> None:
    forward, backward = catalogue(BALL, COOK), catalogue(COOK, BALL)
    assert list(forward.slices.items()) == list(backward.slices.items())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": "discover:all"}, "slice discover:all: declared twice"),
        ({"id": "mars:x"}, "slice mars:x: not a slice"),
        ({"id": "discover:-x"}, "slice discover:-x: not a slice"),
        ({"id": "discover:" + "x" * 33}, "not a slice"),
        ({"reach": 0}, "slice discover:ball: reach is 0: write a whole number from 1"),
        ({"reach": 1.5}, "slice discover:ball: reach is 1.5: write a whole number"),
        ({"size": 1}, "slice discover:ball: size is not known: known are id"),
        ({"neighbours": {"ball": 0.5}}, "slice discover:ball: neighbour of itself"),
        ({"neighbours": {"discover:ball": 0.5}}, "slice discover:ball: neighbour of itself"),
        ({"neighbours": {"chess": 0.5}}, "slice discover:ball: unknown neighbour discover:chess"),
        ({"neighbours": {"cook": 1.1}}, "discover:ball: neighbour cook: 1.1 is out of range"),
        ({"neighbours": {"cook": -0.1}}, "discover:ball: neighbour cook: -0.1 is out of range"),
        ({"tags": {"interest.football": 2}}, "tags: interest.football: 2 is out of range"),
        (
            {"tags": {"interest.soccer": 1}},
            "slice discover:ball: tags: unknown tag interest.soccer",
        ),
        ({"tags": {}}, "slice discover:ball: without tags no video comes here"),
        ({"cities": ["沈阳"]}, "slice discover:ball: cities belong to every nearby slice"),
        ({"id": "nearby:ball"}, "slice nearby:ball: only discover slices are matched by tags"),
        ({"id": "nearby:ball", "tags": {}}, "slice nearby:ball: cities belong to every nearby"),
        ({"prior_variance": 0}, "discover:ball: prior_variance: 0 is out of range"),
        ({"noise_variance": -0.1}, "discover:ball: noise_variance: -0.1 is out of range"),
        ({"price": float("nan")}, "discover:ball: price: NaN is out of range"),
        ({"price": 0.1234567}, "discover:ball: price: 0.1234567 is not a number with at most six"),
        ({"prior_mean": 350_000}, "discover:ball: prior_mean: 350000 is out of range"),
    ],
)
def test_a_wrong_slice_halts_with_one_line(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(Halt, match=re.escape(complaint)) as halted:
        catalogue({**BALL, **change}, COOK)
    assert str(halted.value).startswith("slices.toml: ")
    assert "\n" not in str(halted.value)


@pytest.mark.parametrize("default", ["discover:none", "following:fans", "x"])
def test_the_default_is_a_discover_slice_of_the_file(default: str) -> None:
    with pytest.raises(Halt, match=f"default {default}: not a discover slice"):
        catalogue(default=default)


def test_one_city_belongs_to_one_slice() -> None:
    twin = {**SHENYANG, "id": "nearby:twin", "cities": ["沈阳市"]}
    with pytest.raises(Halt, match="slice nearby:twin: city 沈阳 is also in nearby:shenyang"):
        catalogue(SHENYANG, twin)


def test_followers_have_a_slice() -> None:
    with pytest.raises(Halt, match="no following slice"):
        Catalogue.parse(
            {"default": "discover:all", "slice": [BROAD]}, known=(), where="slices.toml"
        )


def test_a_slice_without_an_id_is_named_by_its_place() -> None:
    with pytest.raises(Halt, match="slice number 3: id is missing: write surface:group"):
        catalogue(NUMBERS)
