import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.client.intake import take_event
from streams.core.events import Comment, Follow, Hide, Impression, Like, Share, Upload, View
from streams.lab.kuairand import COLUMNS, FEATURE_COLUMNS, KuaiRand, VideoFeatures, read_features
from streams.lab.rows import BadRow, Row, read_rows
from streams.runtime.signing import encode

GOOD = dict.fromkeys(COLUMNS, "0") | {
    "user_id": "7",
    "video_id": "12",
    "date": "20220421",
    "hourmin": "400",
    "time_ms": "1650485801301",
    "is_click": "1",
    "long_view": "1",
    "play_time_ms": "15024",
    "duration_ms": "104400",
    "tab": "1",
}
NOW_MS = 1_800_000_000_000
FLAGS = ("is_like", "is_comment", "is_forward", "is_follow", "is_hate")


def row_of(number: int = 1, **changed: object) -> Row:
    texts = [str({**GOOD, **changed}[column]) for column in COLUMNS]
    return Row(number, {column: place for place, column in enumerate(COLUMNS)}, texts)


def test_a_row_becomes_upload_impression_and_the_view_that_ended_it() -> None:
    upload, impression, view = KuaiRand()(row_of())
    assert isinstance(upload, Upload)
    assert (upload.video, upload.creator, upload.duration_ms) == (
        "kuairand-12",
        "kuairand-unknown",
        104_400,
    )
    assert isinstance(impression, Impression)
    assert (impression.viewer, impression.ts) == ("kuairand-7", 1_650_485_801_301)
    assert isinstance(view, View)
    assert (view.watch_ms, view.ts - impression.ts) == (15_024, 15_024)


def test_each_kind_of_feedback_becomes_its_engagement() -> None:
    everything = dict.fromkeys(FLAGS, "1")
    kinds = [type(event) for event in KuaiRand()(row_of(**everything))]
    assert kinds == [Upload, Impression, View, Like, Comment, Share, Follow, Hide]


@pytest.mark.parametrize(
    ("flag", "kind"),
    list(zip(FLAGS, (Like, Comment, Share, Follow, Hide), strict=True)),
)
def test_no_flag_is_taken_for_another(flag: str, kind: str) -> None:
    assert [type(event) for event in KuaiRand()(row_of(**{flag: "1"}))][3:] == [kind]


def test_a_video_is_uploaded_once_however_far_apart_its_rows_and_ids_are() -> None:
    convert = KuaiRand()
    videos = [0, 7, 8, 134_217_727, 0, 7, 8, 134_217_727, 9]
    uploaded = [
        event.video
        for number, video in enumerate(videos, start=1)
        for event in convert(row_of(number, video_id=video))
        if isinstance(event, Upload)
    ]
    assert uploaded == [f"kuairand-{video}" for video in (0, 7, 8, 134_217_727, 9)]


def test_tabs_are_the_default_crowd_unless_told_otherwise() -> None:
    convert = KuaiRand(tabs={4: "following:fans"})
    assert convert(row_of(1, tab="4"))[-1].slice == "following:fans"
    assert convert(row_of(2, tab="5"))[-1].slice == "discover:dailylife"


def test_features_give_creator_length_day_and_advert() -> None:
    known = VideoFeatures(441, commercial=True, uploaded_ms=1_649_520_000_000, duration_ms=9_233)
    upload = KuaiRand({12: known})(row_of())[0]
    assert (upload.creator, upload.commercial, upload.ts, upload.duration_ms) == (
        "kuairand-author-441",
        True,
        1_649_520_000_000,
        9_233,
    )


def test_features_may_lack_day_and_length() -> None:
    lines = [f"{','.join(FEATURE_COLUMNS)}\n", "12,441,NORMAL,,\n"]
    features = read_features(read_rows(lines, FEATURE_COLUMNS))
    assert features == {12: VideoFeatures(441, False, None, None)}
    upload = KuaiRand(features)(row_of())[0]
    assert (upload.ts, upload.duration_ms) == (1_650_485_801_301, 104_400)


def test_days_of_upload_begin_in_beijing() -> None:
    lines = [f"{','.join(FEATURE_COLUMNS)}\n", "0,7349781,AD,2022-04-10,87433.0\n"]
    features = read_features(read_rows(lines, FEATURE_COLUMNS))
    assert features == {0: VideoFeatures(7_349_781, True, 1_649_520_000_000, 87_433)}


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("user_id", "-1"),
        ("video_id", "134217728"),
        ("video_id", "x"),
        ("time_ms", "1650485801"),
        ("play_time_ms", "-5"),
        ("play_time_ms", "86400001"),
        ("duration_ms", "0"),
        ("is_like", "2"),
        ("tab", "15"),
    ],
)
def test_a_wrong_column_is_named(column: str, text: str) -> None:
    with pytest.raises(BadRow, match=rf"^row 3 \(line 4\): {column} "):
        KuaiRand()(row_of(3, **{column: text}))


@given(
    st.fixed_dictionaries(
        {
            "user_id": st.integers(0, 1 << 53),
            "video_id": st.integers(0, 1_000),
            "time_ms": st.integers(1_000_000_000_000, NOW_MS - 86_400_000),
            "play_time_ms": st.integers(0, 86_400_000),
            "duration_ms": st.integers(1, 86_400_000),
            "tab": st.integers(0, 14),
            **dict.fromkeys(FLAGS, st.integers(0, 1)),
        }
    )
)
def test_every_row_within_its_ranges_gives_events_that_the_pipeline_takes(
    changed: dict[str, object],
) -> None:
    for event in KuaiRand()(row_of(**changed)):
        assert take_event(encode(event), NOW_MS, 1_000_000).event == event
