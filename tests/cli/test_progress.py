"""How far it is, where there is no terminal: a line now and then."""

import io

from rich.console import Console

from streams.cli.progress import LINE_S, Meter


class Screen:
    """A meter on something that is no terminal, with its clock in hand."""

    def __init__(self, total: int | None = None, noun: str = "records") -> None:
        self.now = 0.0
        self.file = io.StringIO()
        console = Console(file=self.file, width=20)
        self.meter = Meter("verb", total, noun=noun, clock=lambda: self.now, console=console)

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def test_a_line_comes_every_ten_seconds_however_often_it_is_called() -> None:
    screen = Screen()
    with screen.meter as meter:
        for second in range(1, 26):
            screen.now = float(second)
            meter.show(second * 100)
    assert screen.lines() == ["verb: 1,000 records, 100/s", "verb: 2,000 records, 100/s"]


def test_the_share_is_told_where_the_end_is_known() -> None:
    screen = Screen(total=400, noun="events")
    with screen.meter as meter:
        screen.now = LINE_S
        meter.show(100, "3 MB")
        screen.now += LINE_S
        meter.show(120, done=200)
    assert screen.lines() == ["verb: 25% 100 events, 10/s, 3 MB", "verb: 50% 120 events, 6/s"]


def test_the_sum_has_the_last_number_also_of_a_short_run() -> None:
    screen = Screen(noun="events")
    with screen.meter as meter:
        screen.now = 2.0
        meter.show(100)
    assert (screen.lines(), meter.total()) == ([], "100 events in 2.0 s (50/s)")
