"""From a life that goes wrong to the few things that it takes, in words."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from simulation.census import occurrences
from simulation.judges import judge
from simulation.life import Flaw, Life
from simulation.loop import Stuck
from simulation.plan import Step, plan_of

TRIES: Final = 150
"""Lives that are lived at most to shrink one."""


class Fate(NamedTuple):
    """How a life went: its trace, and what was wrong with it ("" if nothing was)."""

    trace: int
    flaw: str


def fate_of(
    seed: int, steps: Sequence[Step] | None = None, counted: Counter[str] | None = None
) -> Fate:
    """Live the life of a seed, with all that its plan brings or with less; judge it.

    What occurs in it is `counted` where that is wanted.
    """
    with TemporaryDirectory() as folder:
        life = Life(seed, plan_of(seed) if steps is None else steps, Path(folder))
        return _fate_of(life, counted)


def _fate_of(life: Life, counted: Counter[str] | None) -> Fate:
    try:
        judge(life.run())
        if counted is not None:
            counted.update(occurrences(life))
    except (Flaw, Stuck) as flaw:
        return Fate(life.net.trace, str(flaw))
    except AssertionError as broken:
        return Fate(life.net.trace, f"an assertion: {broken}")
    return Fate(life.net.trace, "")


def shrunk(
    seed: int, goes_wrong: Callable[[Sequence[Step]], bool] | None = None
) -> tuple[Step, ...]:
    """Return the steps without which a life that goes wrong would not, as far as can be found."""
    fails = goes_wrong or (lambda steps: bool(fate_of(seed, steps).flaw))
    kept, size, tries = list(plan_of(seed)), 8, 0
    while size and tries < TRIES:
        at = 0
        while at < len(kept) and tries < TRIES:
            less = kept[:at] + kept[at + size :]
            tries += 1
            if fails(less):
                kept = less
            else:
                at += size
        size //= 2
    return tuple(kept)


def report(seed: int, flaw: str) -> str:
    """Say what goes wrong in the life of a seed, what it takes, and how to see it again."""
    plan, steps = plan_of(seed), shrunk(seed)
    places = ",".join(str(plan.index(step)) for step in steps)
    lines = [
        f"seed {seed}: {flaw}",
        f"again: PYTHONPATH=.:tests python -m simulation {seed}",
        f"shrunk: PYTHONPATH=.:tests python -m simulation {seed} --only {places or '-'}",
        *(f"  {step.words()}" for step in steps),
        f"  {fate_of(seed, steps).flaw}",
    ]
    return "\n".join(lines)
