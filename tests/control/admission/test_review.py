import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.control.admission.recognise import Recogniser
from streams.control.admission.review import ReviewGate, Verdict
from streams.control.admission.taxonomy import TagKey
from streams.core.events import Tag, Upload
from streams.errors import Halt

CONFIG = Path(__file__).parents[3] / "config"
RECOGNISER = Recogniser.from_config(CONFIG)
GATE = ReviewGate.from_toml(CONFIG / "review.toml")
KNOWN = (TagKey("interest", "football"), TagKey("scene", "sea"))


def upload(**said: Any) -> Upload:
    return Upload(
        **{
            "id": "u1",
            "video": "v1",
            "creator": "c1",
            "ts": 1_700_000_000_000,
            "duration_ms": 15_000,
            "followers": 50,
        }
        | said
    )


def shipped(**said: Any) -> str:
    """Return `verdict rule` of the shipped rules on what the built-in recogniser sees."""
    video = upload(**said)
    tags = RECOGNISER.recognise(video)
    rule, verdict = GATE.first_rule(video, tags), GATE.decide(video, tags)
    return f"{verdict.verdict if verdict else 'wait'} {rule.name if rule else '-'}"


def gate(*rules: dict[str, object]) -> ReviewGate:
    plain = {"verdict": "limit", "reason": "because"}
    written = [{"name": f"r{place}", **plain, **rule} for place, rule in enumerate(rules)]
    return ReviewGate.parse({"rule": written}, known=KNOWN, where="review.toml")


def fires(rule: dict[str, object], *tags: Tag, **said: Any) -> bool:
    return gate(rule).decide(upload(**said), tags) is not None


# -------------------------------------------------------------------- the shipped rules


@pytest.mark.parametrize(
    ("title", "outcome"),
    [
        ("周末村超足球赛", "approve ordinary"),
        ("Easy dinner recipes", "approve ordinary"),
        ("网赌平台注册就送", "reject gambling"),
        ("join our ONLINE CASINO", "reject gambling"),
        ("冰毒怎么买", "reject drugs"),
        ("#OnlineCasino", "reject gambling"),
        ("远离毒品，珍爱生命", "wait prevention"),
        ("赌博的危害有多大", "wait prevention"),
        ("远离毒品？这里有冰毒", "reject drugs"),
        ("祖传秘方根治糖尿病", "wait medical-claims"),
        ("这只股票稳赚", "wait finance-claims"),
        ("guaranteed returns every day", "wait finance-claims"),
        ("深夜飙车", "limit dangerous-acts"),
        ("拼酒大赛", "limit tobacco-and-alcohol"),
        ("互粉互赞", "limit engagement-bait"),
        ("", "wait -"),
        ("xyz", "wait -"),
    ],
)
def test_what_a_title_leads_to(title: str, outcome: str) -> None:
    assert shipped(title=title) == outcome


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"metadata": {"nsfw": "no"}}, "approve ordinary"),
        ({"metadata": {"nsfw": "YES"}}, "reject explicit-metadata"),
        ({"metadata": {"nsfw": True}}, "reject explicit-metadata"),
        ({"metadata": {"nsfw": "unsure"}}, "wait unclear-metadata"),
        ({"metadata": {"violence": "gore"}}, "reject violence-metadata"),
        ({"metadata": {"age": 8}}, "wait minors"),
        ({"hashtags": ("基金",), "commercial": True}, "wait commercial-health-or-finance"),
        ({"commercial": True}, "approve ordinary"),
        ({"commercial": True, "followers": 9}, "wait commercial-unknown-seller"),
        ({"followers": 0}, "approve ordinary"),
        ({"duration_ms": 999}, "wait too-short"),
        ({"duration_ms": 1_000}, "approve ordinary"),
        ({"duration_ms": 600_000}, "approve ordinary"),
        ({"duration_ms": 600_001}, "wait too-long"),
        ({"hashtags": ("赌场",)}, "reject gambling"),
        ({"title": "xyz", "scene": "海边"}, "approve ordinary-scene"),
        ({"title": "xyz", "scene": "海边", "commercial": True}, "wait -"),
    ],
)
def test_what_else_than_the_title_decides(said: dict[str, Any], outcome: str) -> None:
    assert shipped(**{"title": "家常菜谱：红烧肉", **said}) == outcome


def test_every_shipped_rule_says_why() -> None:
    assert all(rule.reason for rule in GATE.rules)
    assert {rule.verdict for rule in GATE.rules} == {"approve", "limit", "reject", "wait"}


@given(st.text(max_size=30), st.integers(1, 86_400_000), st.booleans())
def test_nothing_is_approved_that_nobody_recognises(title: str, length: int, ad: bool) -> None:
    verdict = GATE.decide(upload(title=title, duration_ms=length, commercial=ad), ())
    assert verdict is None or verdict.verdict != "approve"


# -------------------------------------------------------------------- conditions


def test_the_verdict_names_its_rule_and_its_reason() -> None:
    found = gate({"name": "ads", "commercial": True}).decide(upload(commercial=True), ())
    assert found == Verdict("limit", "ads", "because")


def test_the_first_rule_that_fits_wins() -> None:
    rules = gate(
        {"verdict": "reject", "words": ["海鲜"]},
        {"verdict": "approve", "commercial": False},
        {"verdict": "limit", "words": ["牛肉"]},
    )
    assert [rules.decide(upload(title=title), ()) for title in ("海鲜", "牛肉")] == [
        Verdict("reject", "r0", "because"),
        Verdict("approve", "r1", "because"),
    ]


def test_a_waiting_rule_gives_no_verdict_and_ends_the_search() -> None:
    rules = gate(
        {"verdict": "wait", "words": ["海鲜"]}, {"verdict": "approve", "commercial": False}
    )
    assert rules.decide(upload(title="海鲜"), ()) is None
    waiting = rules.first_rule(upload(title="海鲜"), ())
    assert waiting is not None
    assert waiting.name == "r0"


def test_every_stated_condition_must_hold() -> None:
    rule = {"words": ["海鲜"], "commercial": True}
    assert fires(rule, title="海鲜", commercial=True)
    assert not fires(rule, title="海鲜")
    assert not fires(rule, commercial=True)


@pytest.mark.parametrize(
    ("confidence", "fired"), [(599_999, False), (600_000, True), (1_000_000, True)]
)
def test_a_tag_counts_from_its_confidence_on(confidence: int, fired: bool) -> None:
    rule = {"tags": {"scene.sea": 0.6}}
    assert fires(rule, Tag("scene", "sea", confidence)) is fired
    assert not fires(rule, Tag("scene", "river", confidence))


def test_a_star_stands_for_any_tag_of_its_dimension() -> None:
    rule = {"tags": {"interest.*": 0.5}}
    assert fires(rule, Tag("interest", "something-new", 500_000))
    assert not fires(rule, Tag("scene", "sea", 900_000))


def test_excepted_phrases_hide_only_what_is_inside_them() -> None:
    rule = {"words": ["毒品"], "except_words": ["远离毒品"]}
    assert not fires(rule, title="远离毒品")
    assert fires(rule, title="远离毒品，毒品")


def test_a_phrase_that_one_rule_excepts_hides_nothing_from_another() -> None:
    rules = gate(
        {"words": ["甲乙"], "except_words": ["甲乙丙"]}, {"words": ["乙丙"]}, {"words": ["甲乙"]}
    )
    found = [rules.decide(upload(title=title), ()) for title in ("甲乙丙", "甲乙")]
    assert [verdict and verdict.rule for verdict in found] == ["r1", "r0"]


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"min": 5}, [5, 6], [4]),
        ({"max": 5}, [0, 5], [6]),
        ({"min": 5, "max": 5}, [5], [4, 6]),
    ],
)
def test_bounds_are_inclusive(
    bounds: dict[str, int], inside: list[int], outside: list[int]
) -> None:
    assert all(fires({"followers": bounds}, followers=count) for count in inside)
    assert not any(fires({"followers": bounds}, followers=count) for count in outside)


def test_metadata_needs_every_key_and_one_of_its_values() -> None:
    rule = {"metadata": {"nsfw": ["maybe", True], "faces": [0]}}
    assert fires(rule, metadata={"nsfw": "Maybe", "faces": 0})
    assert fires(rule, metadata={"nsfw": True, "faces": 0})
    assert not fires(rule, metadata={"nsfw": 1, "faces": 0})
    assert not fires(rule, metadata={"nsfw": True, "faces": False})
    assert not fires(rule, metadata={"nsfw": True})


# -------------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({}, "rule x: fits every video: state a condition"),
        ({"word": ["a"]}, "rule x: word is not known: did you mean words?"),
        ({"verdict": "allow", "commercial": True}, 'rule x: verdict is "allow": write one of'),
        ({"reason": "", "commercial": True}, 'rule x: reason is "": write text of 1 to 200'),
        ({"commercial": "yes"}, 'rule x: commercial is "yes": write true or false'),
        ({"words": [""]}, 'rule x: words[1] is "": write a word'),
        ({"except_words": ["a"], "commercial": True}, "rule x: except_words without words"),
        ({"tags": {"interest.soccer": 0.5}}, "rule x: tags: unknown tag interest.soccer"),
        ({"tags": {"scene.sea": 2}}, "rule x: tags: scene.sea: 2 is out of range"),
        ({"tags": {"scene.sea": 0.1234567}}, "at most six decimals"),
        ({"metadata": {"nsfw": []}}, "rule x: metadata.nsfw is []: write a non-empty list"),
        ({"metadata": {"nsfw": "yes"}}, 'rule x: metadata.nsfw is "yes": write a non-empty list'),
        ({"followers": {"min": -1}}, "rule x: followers.min is -1: write a whole number from 0 on"),
        ({"duration_ms": {"min": 2, "max": 1}}, "rule x: duration_ms: min is above max"),
        ({"duration_ms": {"from": 2}}, "rule x: duration_ms.from is not known: known are min, max"),
    ],
)
def test_a_wrong_rule_halts_with_one_line(rule: dict[str, object], complaint: str) -> None:
    with pytest.raises(Halt, match=re.escape(complaint)) as halted:
        gate({"name": "x", **rule})
    assert str(halted.value).startswith("review.toml: ")
    assert "\n" not in str(halted.value)


def test_two_rules_of_one_name_halt() -> None:
    with pytest.raises(Halt, match="rule x: declared twice"):
        gate({"name": "x", "commercial": True}, {"name": "x", "commercial": False})


def test_a_rule_without_a_name_is_named_by_its_place() -> None:
    with pytest.raises(Halt, match="rule number 1: name is missing: write a name of a-z"):
        ReviewGate.parse({"rule": [{"verdict": "limit"}]}, known=(), where="review.toml")


def test_a_file_without_rules_halts() -> None:
    with pytest.raises(Halt, match=r"review\.toml: rule is \[\]: write a non-empty list of tables"):
        ReviewGate.parse({"rule": []}, known=(), where="review.toml")
