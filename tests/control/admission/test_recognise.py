import random
import re
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.control.admission.lexicon import Lexicon
from streams.control.admission.plugins import RecogniserFault, load_recognisers, recognise_all
from streams.control.admission.recognise import Recogniser, merge_tags, noisy_or
from streams.control.admission.taxonomy import DIMENSIONS, MetadataTest, TagKey, Taxonomy, passes
from streams.control.figures import micros
from streams.core.events import Music, Tag, Upload
from streams.errors import Halt
from streams.settings import read_toml

CONFIG = Path(__file__).parents[3] / "config"
RECOGNISER = Recogniser.from_config(CONFIG)

ratios = st.integers(0, 1_000_000)
tags = st.lists(
    st.builds(Tag, st.sampled_from(DIMENSIONS), st.sampled_from(["a", "b", "c"]), ratios),
    max_size=6,
)


def upload(**said: Any) -> Upload:
    return Upload(
        id="u1", video="v1", creator="c1", ts=1_700_000_000_000, duration_ms=15_000, **said
    )


def seen(recogniser: Recogniser = RECOGNISER, **said: Any) -> dict[str, int]:
    tags = recogniser.recognise(upload(**said))
    return {f"{tag.dimension}.{tag.name}": tag.confidence_micros for tag in tags}


def taxonomy(**parts: object) -> Taxonomy:
    full = {"confidence": {"title": Decimal("0.5"), "hashtag": Decimal("0.75")}, **parts}
    return Taxonomy.parse(full, where="taxonomy.toml")


# -------------------------------------------------------------------- the shipped taxonomy


@pytest.mark.parametrize(
    ("title", "tag"),
    [
        ("周末村超足球赛", "interest.football"),
        ("三分球绝杀！", "interest.basketball"),
        ("教你做家常菜", "interest.cooking"),
        ("成都夜市小吃探店", "interest.food"),
        ("街舞翻跳", "interest.dance"),
        ("大妈们的广场舞", "interest.square-dance"),
        ("我家狗狗会开门", "interest.pets"),
        ("新手化妆教程", "interest.beauty"),
        ("秋天的穿搭", "interest.fashion"),
        ("王者荣耀五杀", "interest.gaming"),
        ("试驾新款越野车", "interest.cars"),
        ("自驾游西藏", "interest.travel"),
        ("周末露营", "interest.outdoor"),
        ("航拍长城", "interest.photography"),
        ("今年玉米大丰收", "interest.farming"),
        ("水库野钓大鲤鱼", "interest.fishing"),
        ("非遗竹编", "interest.handicraft"),
        ("搞笑段子", "interest.comedy"),
        ("三分钟科普", "interest.education"),
        ("育儿经验", "interest.parenting"),
        ("一家人团圆", "interest.family"),
        ("每天深蹲一百个", "interest.fitness"),
        ("冬季养生", "interest.health"),
        ("吉他弹唱", "interest.music"),
        ("手机开箱", "interest.technology"),
        ("基金定投", "interest.finance"),
        ("国漫推荐", "interest.anime"),
        ("经典电影解说", "interest.film"),
        ("兵马俑的秘密", "interest.history"),
        ("记录生活", "interest.dailylife"),
        ("My best FOOTBALL goals", "interest.football"),
        ("Easy dinner recipes", "interest.cooking"),
        ("a puppy meets a kitten", "interest.pets"),
        ("Peking opera at the theatre", "music.opera"),
        ("慢动作看水滴", "speed.slow"),
        ("治愈系画面", "emotion.calm"),
        ("😂😂😂", "expression.laugh"),
    ],
)
def test_a_title_in_chinese_or_english_names_its_subject(title: str, tag: str) -> None:
    assert seen(title=title)[tag] > 0


def test_every_dimension_of_the_shipped_taxonomy_has_tags() -> None:
    known = Taxonomy.from_toml(CONFIG / "taxonomy.toml").implies
    assert {key.dimension for key in known} == set(DIMENSIONS)
    assert sum(key.dimension == "interest" for key in known) == 30


def test_every_word_of_the_shipped_taxonomy_is_found_as_it_is_written() -> None:
    file = read_toml(CONFIG / "taxonomy.toml")
    lexicon = Taxonomy.from_toml(CONFIG / "taxonomy.toml").lexicon
    for dimension, names in file["tags"].items():
        for name, entry in names.items():
            for word in entry["words"]:
                assert TagKey(dimension, name) in lexicon.find(f"（{word.upper()}）"), word


def test_all_the_evidence_of_an_upload_comes_together() -> None:
    assert seen(
        title="周末村超足球赛",
        hashtags=("#足球", "#WorldCup"),
        music=Music(title="燃", artist="", genre="EDM"),
        scene="足球场",
        metadata={"age": 29, "gender": "Female", "smile": True},
    ) == {
        "age.25-34": 650_000,
        "emotion.excited": 540_000,  # the strongest reason only: the genre's 0.9 * 0.6
        "expression.smile": 650_000,
        "gender.female": 650_000,
        "interest.football": 938_250,  # title .5, hashtag .75, scene .35, and the pitch .8 * .3
        "music.edm": 900_000,
        "scene.pitch": 800_000,
        "speed.fast": 720_000,
    }


def test_tags_come_sorted_by_dimension_then_confidence_then_name() -> None:
    answer = RECOGNISER.recognise(upload(title="足球 篮球", hashtags=("猫咪",), scene="厨房"))
    order = [(tag.dimension, -tag.confidence_micros, tag.name) for tag in answer]
    assert order == sorted(order)
    assert len(order) > 3


def test_an_upload_that_says_nothing_has_no_tags() -> None:
    assert seen() == {}
    assert seen(title="   ", hashtags=("", "#"), music=Music()) == {}


def test_a_denied_feeling_is_not_the_feeling() -> None:
    assert "emotion.happy" in seen(title="今天很开心")
    assert seen(title="今天不开心") == {"emotion.sad": 500_000}


def test_a_phrase_of_the_ignore_list_hides_the_words_inside() -> None:
    assert seen(title="上海鲜花") == {}
    assert "interest.food" in seen(title="上海海鲜")
    assert "interest.pets" not in seen(title="best hot dogs in town")


def test_a_longer_word_hides_the_meaning_of_its_parts() -> None:
    assert set(seen(title="陪娃玩亲子游戏")) == {"interest.parenting"}
    assert set(seen(title="fast food")) == {"interest.food"}
    assert set(seen(title="rock climbing")) == {"interest.outdoor"}


def test_the_dances_of_elders_imply_dance_and_age() -> None:
    assert seen(hashtags=("广场舞",)) == {
        "age.50-plus": 300_000,
        "interest.dance": 450_000,
        "interest.square-dance": 750_000,
    }


# -------------------------------------------------------------------- evidence


def test_a_hashtag_is_believed_more_than_a_title() -> None:
    assert seen(hashtags=("钓鱼",))["interest.fishing"] > seen(title="钓鱼")["interest.fishing"]


def test_ten_synonyms_in_one_title_weigh_as_much_as_one() -> None:
    stuffed = seen(title="足球 世界杯 欧冠 英超 西甲 中超 国足 进球 football soccer")
    assert stuffed["interest.football"] == seen(title="足球")["interest.football"]


def test_a_recogniser_that_says_how_sure_it_is_is_taken_at_its_word() -> None:
    sure = {"gender": "female", "gender_confidence_micros": 930_000}
    assert seen(metadata=sure) == {"gender.female": 930_000}


@pytest.mark.parametrize("claimed", [-1, 1_000_001, True, "900000"])
def test_a_confidence_that_is_none_is_not_taken(claimed: str | int | bool) -> None:
    doubtful = {"gender": "female", "gender_confidence_micros": claimed}
    assert seen(metadata=doubtful) == {"gender.female": 650_000}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"age": "25-34"}, {"age.25-34"}),
        ({"age": 25}, {"age.25-34"}),
        ({"age": 34}, {"age.25-34"}),
        ({"age": 35}, {"age.35-49"}),
        ({"age": 200}, set()),
        ({"gender": "男"}, set()),
        ({"gender": "male"}, {"gender.male"}),
        ({"smile": True}, {"expression.smile"}),
        ({"smile": False}, set()),
        ({"smile": 1}, set()),
        ({"speed": "fast"}, {"speed.fast"}),
        ({"scene": "海边"}, {"scene.sea"}),
        ({"labels": "dog, grass"}, {"interest.pets"}),
        ({"gender": "football"}, set()),
        ({"nsfw": "no", "faces": 2}, set()),
    ],
)
def test_metadata_speaks_for_its_own_dimension(
    metadata: dict[str, str | int | bool], expected: set[str]
) -> None:
    assert set(seen(metadata=metadata)) == expected


def test_implied_tags_imply_nothing_further() -> None:
    chain = taxonomy(
        tags={
            "interest": {
                "a": {"words": ["alpha"], "implies": {"interest.b": Decimal("0.5")}},
                "b": {"implies": {"interest.a": 1, "interest.c": 1}},
                "c": {},
            }
        }
    )
    found = seen(Recogniser(chain), title="alpha")
    assert found == {"interest.a": 500_000, "interest.b": 250_000}


def test_a_kind_of_evidence_that_is_not_believed_says_nothing() -> None:
    plain = taxonomy(tags={"interest": {"a": {"words": ["alpha"]}}})
    assert seen(Recogniser(plain), scene="alpha") == {}


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=4))
def test_any_text_gives_valid_tags_and_twice_the_same(title: str, hashtags: list[str]) -> None:
    video = upload(title=title, hashtags=tuple(hashtags))
    first = RECOGNISER.recognise(video)
    assert first == RECOGNISER.recognise(video)
    assert all(0 < tag.confidence_micros <= 1_000_000 for tag in first)
    assert len({(tag.dimension, tag.name) for tag in first}) == len(first)


@given(st.permutations(["足球", "做饭", "football", "养生", "#航拍"]))
def test_the_order_of_hashtags_changes_nothing(hashtags: list[str]) -> None:
    shuffled = RECOGNISER.recognise(upload(hashtags=tuple(hashtags)))
    assert shuffled == RECOGNISER.recognise(upload(hashtags=tuple(sorted(hashtags))))


@given(st.lists(ratios, max_size=8), st.randoms())
def test_noisy_or_knows_no_order_and_lies_between_its_best_part_and_one(
    parts: list[int], chance: random.Random
) -> None:
    whole = noisy_or(parts)
    shuffled = list(parts)
    chance.shuffle(shuffled)
    assert noisy_or(shuffled) == whole
    assert max(parts, default=0) <= whole <= 1_000_000
    assert (whole == 1_000_000) == (1_000_000 in parts)


# -------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("car", True),
        ("CAR!", True),
        ("ＣＡＲ", True),  # full width
        ("看car视频", True),
        ("my_car-2", True),
        ("scar", False),
        ("cars", False),
        ("carpet", False),
        ("car2", False),
    ],
)
def test_a_latin_word_is_found_whole_in_any_case(text: str, found: object) -> None:
    assert bool(Lexicon([("car", "car")]).find(text)) is found


@pytest.mark.parametrize(
    "text", ["street food", "Street-Food", "street_food", "#StreetFood", "x street  food"]
)
def test_several_latin_words_may_be_joined_as_hashtags_do(text: str) -> None:
    assert Lexicon([("street food", 1)]).find(text) == {1}


def test_chinese_is_found_anywhere_but_not_across_a_break() -> None:
    words = Lexicon([("心情", 1)])
    assert words.find("我的心情日记") == {1}
    assert words.find("真开心 情歌") == frozenset()
    assert words.find("真开心，情歌") == frozenset()


def test_words_that_overlap_are_both_found_and_words_inside_others_are_not() -> None:
    words = Lexicon([("家常菜", "a"), ("菜谱", "b"), ("家常", "c")])
    assert words.find("家常菜谱") == {"a", "b"}
    assert words.find("家常") == {"c"}


def test_one_word_may_have_several_meanings() -> None:
    assert Lexicon([("村超", 1), ("村超", 2)]).find("去看村超") == {1, 2}


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_chinese_word_is_found_between_any_other_text(before: str, after: str) -> None:
    assert Lexicon([("足球", 1)]).find(f"{before}足球{after}") == {1}


@pytest.mark.parametrize(
    ("test", "value", "passed"),
    [(True, 1, False), (1, True, False), ((0, 1), True, False), ("YES", "yes", True), (3, 3, True)],
)
def test_metadata_tests_tell_true_from_one(
    test: MetadataTest, value: str | int | bool, passed: bool
) -> None:
    assert passes(test, value) is passed


# -------------------------------------------------------------------- several sources


def test_sources_that_agree_make_each_other_surer() -> None:
    merged = merge_tags(
        {"eye": [Tag("scene", "sea", 600_000)], "ear": [Tag("scene", "sea", 500_000)]}
    )
    assert merged == (Tag("scene", "sea", 800_000),)


def test_the_latest_word_of_a_source_replaces_its_earlier_one() -> None:
    first, second = Tag("scene", "sea", 900_000), Tag("scene", "sea", 200_000)
    assert merge_tags({"eye": [first, second]}) == (second,)
    assert merge_tags({"eye": [first, Tag("scene", "sea", 0)]}) == ()


@given(st.dictionaries(st.sampled_from(["eye", "ear", "nose"]), tags))
def test_the_order_of_sources_changes_nothing(by_source: dict[str, list[Tag]]) -> None:
    assert merge_tags(by_source) == merge_tags(dict(reversed(by_source.items())))


@given(tags)
def test_merging_what_is_merged_changes_nothing(said: list[Tag]) -> None:
    once = merge_tags({"eye": said})
    assert merge_tags({"eye": once}) == once


# -------------------------------------------------------------------- plug-ins


class Sure:
    def recognise(self, _upload: Upload) -> tuple[Tag, ...]:
        return (Tag("scene", "sea", 1_000_000),)


class Broken:
    def recognise(self, _upload: Upload) -> tuple[Tag, ...]:
        raise ValueError("model\nmissing")


class Liar:
    def recognise(self, _upload: Upload) -> tuple[Tag, ...]:
        return (Tag("scene", "sea", 1_000_001),)


class Mute:
    pass


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, "streams.recognisers")


def test_the_built_in_recogniser_is_an_entry_point_like_any_other() -> None:
    builtin = point("builtin", "streams.control.admission.recognise:Recogniser")
    recognisers, faults = load_recognisers(CONFIG, [builtin])
    assert faults == ()
    assert isinstance(recognisers["builtin"], Recogniser)


def test_recognisers_that_cannot_be_built_stop_nobody_else() -> None:
    recognisers, faults = load_recognisers(
        CONFIG,
        [
            point("gone", "no_such_module:Thing"),
            point("mute", f"{__name__}:Mute"),
            point("sure", f"{__name__}:Sure"),
            point("sure", f"{__name__}:Broken"),
        ],
    )
    assert list(recognisers) == ["sure"]
    assert [fault.source for fault in faults] == ["gone", "mute", "sure"]
    assert "no_such_module" in faults[0].error
    assert "recognise(upload)" in faults[1].error


def test_a_wrong_taxonomy_is_the_fault_of_the_built_in_recogniser_alone(tmp_path: Path) -> None:
    builtin = point("builtin", "streams.control.admission.recognise:Recogniser")
    recognisers, faults = load_recognisers(tmp_path, [builtin, point("s", f"{__name__}:Sure")])
    assert list(recognisers) == ["s"]
    assert "taxonomy.toml" in faults[0].error


def test_a_recogniser_that_raises_or_lies_is_reported_and_the_others_are_heard() -> None:
    by_source, faults = recognise_all(
        {"broken": Broken(), "liar": Liar(), "sure": Sure()}, upload()
    )
    assert by_source == {"sure": (Tag("scene", "sea", 1_000_000),)}
    assert faults[0] == RecogniserFault("broken", "ValueError: model missing")
    assert faults[1].source == "liar"


# -------------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tags = 1\n[confidence]", "tags is 1: write a table"),
        ("[tags]\n[confidence]\n[extra]", "extra is not known: known are tags, confidence"),
        (
            "[tags.mood.happy]\n[confidence]",
            "tags.mood is no name for this: write one of age, emotion",
        ),
        ("[tags.emotion.Happy]\n[confidence]", "tags.emotion.Happy is no name for this: write a"),
        ("[tags.emotion.happy]\nwords = [' ']\n[confidence]", 'words[1] is " ": write a word'),
        (
            "[tags.emotion.happy]\nword = ['x']\n[confidence]",
            "tags.emotion.happy.word is not known: did you mean words?",
        ),
        ("[tags]\n[confidence]\ntitle = 1.5", "title in gender: 1.5 is out of range"),
        ("[tags]\n[confidence]\ntitle = nan", "NaN is out of range"),
        ("[tags]\n[confidence]\ntitle = 0.1234567", "at most six decimals"),
        (
            "[tags.emotion.sad]\nimplies = { 'emotion.joy' = 0.5 }\n[confidence]",
            "emotion.sad: implies: unknown tag emotion.joy",
        ),
        ("[tags", "is not valid TOML"),
    ],
)
def test_a_wrong_taxonomy_halts_with_one_line_that_names_the_file(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "taxonomy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Halt, match=re.escape(complaint)) as halted:
        Taxonomy.from_toml(path)
    assert str(path) in str(halted.value)
    assert "\n" not in str(halted.value)


@given(st.integers(-(10**9), 10**9))
def test_a_decimal_becomes_micros_exactly(whole: int) -> None:
    assert micros(Decimal(whole) / 1_000_000, "x") == whole
