"""The demo tells each promised share beside its bar, and which side won."""

from streams.core.shares import Bar
from streams.lab.demo.promised import share_fields, shares_line, shown_shares

BARS = [Bar("private", 300_000), Bar("ordinary", 700_000), Bar("commercial", 150_000)]
SHOWN = {
    ("following:fans", "5"): 25,
    ("discover:cars", "0"): 50,
    ("discover:cars", "0c"): 15,
    ("nearby:beijing", "5"): 10,
}


def test_shares_stand_beside_their_bars_on_the_right_side_or_not() -> None:
    shares = shown_shares(BARS, SHOWN)
    assert [(each.share, each.held) for each in shares] == [
        (250_000, False),
        (666_666, False),
        (200_000, False),
    ]
    text = "private 25 < 30 %  ordinary people 66.7 < 70 %  adverts 20 > 15 %"
    assert shares_line(shares).plain == f"shown:  {text}"
    assert share_fields(shares)["private"] == {"share": 0.25, "promised": 0.3, "held": False}


def test_before_anything_was_shown_nothing_is_said_of_it() -> None:
    shares = shown_shares(BARS, {})
    assert {each.held for each in shares} == {None}
    assert shares_line(shares).plain == "shown:"


def test_what_is_not_promised_is_not_told() -> None:
    assert shown_shares([Bar("private", 0)], SHOWN) == []
