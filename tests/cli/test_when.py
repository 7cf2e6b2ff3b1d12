"""Times, durations and rates: every verb reads the same spellings."""

import click
import pytest

from streams.cli.when import BOUND, MOMENT, RATE, bound_ms, duration_ms, moment_ms

NOW = 1_767_012_912_345


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-12-29T12:55:12.345", NOW),  # UTC where no zone stands
        ("2025-12-29T12:55:12.345Z", NOW),
        ("2025-12-29T20:55:12.345+08:00", NOW),
        ("20251229T125512.345Z", NOW),
        ("1767012912345", NOW),  # as the events bear them, not the year 1767
        ("now", NOW),
        ("-1h", NOW - 3_600_000),
        ("+30s", NOW + 30_000),
        ("-2w", NOW - 1_209_600_000),
        ("20251229", 1_766_966_400_000),
        ("0001-01-01", 0),  # a log holds nothing older than 1970
        ("-999999999w", 0),
    ],
)
def test_a_moment_has_these_spellings(text: str, expected: int) -> None:
    assert moment_ms(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "-", "1h", "-1y", "yesterday", "1767012912", "17670129123456", "2026-13-01", "-1h "],
)
def test_what_is_no_moment_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"write|digits"):
        moment_ms(text, NOW)


@pytest.mark.parametrize("text", ["-٣h", "١٧٦٧٠١٢٩١٢٣٤٥"])
def test_digits_of_other_scripts_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        moment_ms(text, NOW)


@pytest.mark.parametrize("text", ["earliest", "beginning"])
def test_the_start_of_a_log_has_two_words(text: str) -> None:
    assert bound_ms(text, NOW) == "earliest"


@pytest.mark.parametrize("text", ["latest", "end", "now"])
def test_the_end_of_a_log_has_three_words(text: str) -> None:
    assert bound_ms(text, NOW) == "latest"


def test_a_bound_is_else_a_moment() -> None:
    assert bound_ms("1970-01-01T00:00:01", NOW) == 1_000


@pytest.mark.parametrize("text", ["5", "-5s", "5 s", "1e3s", "s", "5y"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 500ms"):
        duration_ms(text)


@pytest.mark.parametrize("text", ["0", "0/s", "-1", "inf", "nan", "5/m", "1e3", ""])
def test_what_is_no_rate_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 500/s"):
        RATE.convert(text, None, None)


@pytest.mark.parametrize("kind", [MOMENT, BOUND])
def test_a_refusal_names_the_option(kind: click.ParamType) -> None:
    command = click.Command("x", params=[click.Option(["--from", "start"], type=kind)])
    with pytest.raises(click.BadParameter) as refused:
        command.main(["--from", "soon"], standalone_mode=False)
    words = refused.value.format_message()
    assert words.startswith("Invalid value for '--from': 'soon' is no time: write ISO 8601")
    assert refused.value.exit_code == 2
