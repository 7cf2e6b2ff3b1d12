from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.client.intake import take_event
from streams.core.events import Impression, Upload, View
from streams.errors import Halt
from streams.lab.openbandit import COLUMNS, DURATION_MS, OpenBandit, campaign_of
from streams.lab.rows import BadRow, Event, Row, convert_rows, open_log, read_rows
from streams.runtime.signing import encode

DATA = Path(__file__).parents[1] / "data" / "obd"
GOOD = {
    "timestamp": "2019-11-24 00:03:13.442536+00:00",
    "item_id": "14",
    "position": "3",
    "click": "0",
    "propensity_score": "0.029",
    "user_feature_0": "a",
    "user_feature_1": "b",
    "user_feature_2": "c",
    "user_feature_3": "d",
}
NOW_MS = 1_800_000_000_000


def row_of(number: int = 1, **changed: object) -> Row:
    texts = [str({**GOOD, **changed}[column]) for column in COLUMNS]
    return Row(number, {column: place for place, column in enumerate(COLUMNS)}, texts)


def imported(name: str = "random_men.csv") -> list[Event]:
    with open_log(DATA / name) as file:
        return list(convert_rows(read_rows(file, COLUMNS), OpenBandit("men")))


def test_the_sample_becomes_exactly_the_golden_events() -> None:
    golden = (DATA / "random_men.ndjson").read_bytes()
    assert b"".join(encode(event) + b"\n" for event in imported()) == golden


def test_every_event_of_the_sample_is_one_that_the_pipeline_takes() -> None:
    for event in imported():
        assert take_event(encode(event), NOW_MS, 1_000_000).event == event


def test_every_row_is_one_impression_and_one_view_and_every_item_one_upload() -> None:
    events = imported()
    kinds = [type(event) for event in events]
    assert kinds.count(Impression) == kinds.count(View) == 200
    uploaded = [event.video for event in events if isinstance(event, Upload)]
    assert sorted(uploaded) == sorted({event.video for event in events})


def test_clicks_are_the_views_to_the_end() -> None:
    lines = (DATA / "random_men.csv").read_text().splitlines()[1:]
    clicks = sum(line.split(",")[3] == "1" for line in lines)
    watched = [event.watch_ms for event in imported() if isinstance(event, View)]
    assert watched.count(DURATION_MS) == clicks
    assert watched.count(0) == 200 - clicks


def test_ids_are_unique() -> None:
    ids = [event.id for event in imported()]
    assert len(ids) == len(set(ids))


def test_a_longer_piece_of_the_log_begins_with_the_same_events(tmp_path: Path) -> None:
    lines = (DATA / "random_men.csv").read_text().splitlines(keepends=True)
    short = tmp_path / "other_name.csv"
    short.write_text("".join(lines[:51]))
    with open_log(short) as file:
        begun = list(convert_rows(read_rows(file, COLUMNS), OpenBandit("men")))
    assert begun == imported()[: len(begun)]


def test_an_upload_comes_before_the_first_row_of_its_item_only() -> None:
    convert = OpenBandit("men")
    assert [type(event) for event in convert(row_of(1))] == [Upload, Impression, View]
    assert [type(event) for event in convert(row_of(2))] == [Impression, View]


def test_a_bad_row_does_not_use_up_the_upload() -> None:
    convert = OpenBandit("men")
    with pytest.raises(BadRow):
        convert(row_of(1, click="2"))
    assert isinstance(convert(row_of(2))[0], Upload)


def test_equal_features_are_one_viewer_and_others_another() -> None:
    convert = OpenBandit("men")
    one, same = convert(row_of(1))[-1], convert(row_of(2))[-1]
    other = convert(row_of(3, user_feature_3="e"))[-1]
    assert one.viewer == same.viewer != other.viewer


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("timestamp", "yesterday"),
        ("timestamp", "2019-11-24 00:03:13"),
        ("timestamp", "1970-01-01 00:00:00+00:00"),
        ("timestamp", "2100-01-01 00:00:00+00:00"),
        ("item_id", "-1"),
        ("item_id", "10000"),
        ("item_id", ""),
        ("click", "2"),
        ("click", "yes"),
    ],
)
def test_a_wrong_column_is_named(column: str, text: str) -> None:
    with pytest.raises(BadRow, match=rf"^row 7 \(line 8\): {column} "):
        OpenBandit("men")(row_of(7, **{column: text}))


@given(
    st.fixed_dictionaries(
        {
            "item_id": st.integers(0, 9_999),
            "click": st.integers(0, 1),
            **{f"user_feature_{n}": st.text(max_size=40) for n in range(4)},
        }
    )
)
def test_whatever_the_features_hold_the_events_are_valid(changed: dict[str, object]) -> None:
    for event in OpenBandit("men")(row_of(**changed)):
        assert take_event(encode(event), NOW_MS, 1_000_000).event == event


@pytest.mark.parametrize("name", ["random_.csv", "a b.csv", "x_" + "y" * 17, "random_мен.csv"])
def test_a_file_name_that_gives_no_campaign_says_what_to_do(name: str) -> None:
    with pytest.raises(Halt, match="--campaign"):
        campaign_of(PurePath(name))
