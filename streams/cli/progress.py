"""How far it is: a bar on a terminal, a plain line every 10 s elsewhere, always on stderr."""

import time
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from streams.runtime.ports import Clock

LINE_S: Final = 10.0
DRAW_S: Final = 0.1


class Meter:
    """Shows what is done, its rate and a few words; `total` None where there is no end.

    `noun` says what is counted.
    """

    def __init__(
        self,
        verb: str,
        total: int | None = None,
        *,
        noun: str = "records",
        clock: Clock = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._verb = verb
        self._total = total
        self._noun = noun
        self._clock = clock
        self._console = console or Console(stderr=True, highlight=False)
        self._pause = DRAW_S if self._console.is_terminal else LINE_S
        self._start = self._shown = clock()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self.records = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = [
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.fields[words]}"),
            ]
            if self._total is not None:
                columns.insert(2, BarColumn(24))
                columns.insert(3, TextColumn("{task.percentage:3.0f} %"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(self._verb, total=self._total, words="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, records: int, words: str = "", done: int | None = None) -> None:
        """Say how many are done; `done` of `total` where that is another number.

        May be called for every record: what comes too soon after the last is not drawn.
        """
        self.records = records
        if (now := self._clock()) - self._shown < self._pause:
            return
        self._shown = now
        rate = f"{records:,} {self._noun}, {self.rate():,.0f}/s"
        text = f"{rate}{', ' if words else ''}{words}"
        completed = records if done is None else done
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, words=text)
        else:
            share = f" {completed / self._total:.0%}" if self._total else ""
            self._console.print(f"{self._verb}:{share} {text}", soft_wrap=True)

    def total(self) -> str:
        """Return what is done so far, in how long and how fast."""
        seconds = self._clock() - self._start
        return f"{self.records:,} {self._noun} in {seconds:.1f} s ({self.rate():,.0f}/s)"

    def rate(self) -> float:
        """Return how many a second since the start."""
        return self.records / max(self._clock() - self._start, 1e-3)


def size_text(size: int) -> str:
    """Return a number of bytes for people.

    >>> size_text(999), size_text(1_500_000)
    ('999 B', '1.5 MB')
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
