"""Live the life of a seed again: `python -m simulation 7`, `--only 3,5` for less of its plan."""

import argparse
import logging
import sys
from collections import Counter

from simulation.census import ABSENT
from simulation.plan import plan_of
from simulation.shrinking import fate_of, report


def main() -> int:
    """Live, tell how it went, and shrink a life that went wrong if asked to."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--only", metavar="PLACES", help="steps of the plan, '-' for none")
    parser.add_argument("--shrink", action="store_true", help="find what of the plan it takes")
    parser.add_argument("--lives", type=int, help="so many seeds, up to the first that goes wrong")
    parser.add_argument("--count", action="store_true", help="tell what occurs in those lives")
    parser.add_argument("--log", action="store_true", help="show what its processes log")
    given = parser.parse_args()
    if given.log:
        logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
        logging.getLogger("simulation").setLevel(logging.DEBUG)
    if given.lives is not None:
        return _many(range(given.seed, given.seed + given.lives), count=given.count)
    plan = plan_of(given.seed)
    places = range(len(plan)) if given.only is None else _places(given.only)
    steps = tuple(plan[place] for place in places)
    for place, step in zip(places, steps, strict=True):
        _tell(f"{place:3} {step.words()}")
    trace, flaw = fate_of(given.seed, steps)
    _tell(f"trace {trace:08x}: {flaw or 'all is well'}")
    if flaw and given.shrink:
        _tell(report(given.seed, flaw))
    return 1 if flaw else 0


def _many(seeds: range, *, count: bool) -> int:
    counted: Counter[str] | None = Counter() if count else None
    for seed in seeds:
        if flaw := fate_of(seed, counted=counted).flaw:
            _tell(f"seed {seed}: {flaw}")
            return 1
    for name, times in reversed((counted or Counter()).most_common()):
        _tell(f"{times:7} {name}{_why(name)}")
    _tell(f"{len(seeds)} lives, all is well")
    return 0


def _why(name: str) -> str:
    return f": {ABSENT[name]}" if name in ABSENT else ""


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _places(text: str) -> list[int]:
    return [] if text == "-" else [int(each) for each in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
