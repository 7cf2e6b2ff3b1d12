import pytest

from streams.ops.lag_status import (
    BAD,
    STATUSES,
    WINDOW,
    Sample,
    Status,
    catchup_seconds,
    change_per_second,
    evaluate,
)


def window(positions: list[int], lags: list[int], *, owned: bool = True) -> list[Sample]:
    """Samples ten seconds apart."""
    pairs = zip(positions, lags, strict=True)
    return [Sample(10_000 * at, position, lag, owned) for at, (position, lag) in enumerate(pairs)]


RISING = [100 + 10 * at for at in range(WINDOW)]
STILL = [100] * WINDOW
LAGGING = [50] * WINDOW
GROWING = [50 + at for at in range(WINDOW)]
SHRINKING = [50 - at for at in range(WINDOW)]
TABLE: list[tuple[str, list[Sample], Status]] = [
    ("it moves and the lag shrinks", window(RISING, SHRINKING), "OK"),
    ("it moves and the lag falls once", window(RISING, [*GROWING[:-1], 1]), "OK"),
    ("it moves and the lag grows", window(RISING, GROWING), "WARN"),
    ("it moves and the lag stays", window(RISING, LAGGING), "WARN"),
    ("it stands still, owned, lag stays", window(STILL, LAGGING), "STALL"),
    ("it stands still, owned, lag grows", window(STILL, GROWING), "STALL"),
    ("it stands still, nobody's", window(STILL, GROWING, owned=False), "STOP"),
    ("it never committed, nobody's", window([-1] * WINDOW, LAGGING, owned=False), "STOP"),
    ("it went back", window([*RISING[:-1], 90], LAGGING), "REWIND"),
    ("it went back and on again", window([100, 20, *RISING[2:]], LAGGING), "REWIND"),
    ("it went back, nobody's", window([100, *[20] * 9], LAGGING, owned=False), "REWIND"),
    ("it went back to the end", window([100, *[20] * 9], [*LAGGING[:-1], 0]), "OK"),
    ("it is done", window(STILL, [0] * WINDOW), "OK"),
    ("it is done, nobody's", window(STILL, [0] * WINDOW, owned=False), "OK"),
    ("a quiet topic gets a record", window(STILL, [*[0] * 9, 1]), "OK"),
    ("a quiet topic got some a while ago", window(STILL, [0, *LAGGING[1:]]), "OK"),
    ("too few looks", window(STILL[:4], LAGGING[:4]), "UNKNOWN"),
    ("half a window", window(STILL[:5], LAGGING[:5]), "STALL"),
    ("one look, done", window([100], [0]), "OK"),
    ("no look", [], "UNKNOWN"),
]


@pytest.mark.parametrize(
    ("samples", "status"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_rules(samples: list[Sample], status: Status) -> None:
    assert evaluate(samples) == status


def test_every_status_but_halted_is_in_the_table() -> None:
    assert {status for _, _, status in TABLE} == set(STATUSES) - {"HALTED"}


@pytest.mark.parametrize("samples", [row[1] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_halt_is_above_all_of_them(samples: list[Sample]) -> None:
    assert evaluate(samples, halted=True) == "HALTED"


def test_what_is_bad_comes_first() -> None:
    assert STATUSES[: len(BAD)] == BAD


def test_the_rate_is_that_of_the_whole_window() -> None:
    assert change_per_second(window(RISING, GROWING)) == pytest.approx(0.1)
    assert change_per_second(window([1], [1])) is None
    assert change_per_second([Sample(5, 0, 1, True)] * 2) is None


def test_a_lag_that_grows_is_never_caught_up() -> None:
    assert catchup_seconds(50, 0.1) is None
    assert catchup_seconds(50, None) is None
