"""What a comparison can be asked for, by name; importable without the extra."""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Final, Literal, get_args

from streams.errors import Halt

WORLD_NAMES: Final = (
    "independent", "correlated", "hidden", "wrong-priors", "rare-hits", "drift", "late", "fake",
    "mixture",
)  # fmt: skip
Regime = Literal["rich", "middle", "scarce", "crowded"]
REGIME_NAMES: Final[tuple[Regime, ...]] = get_args(Regime)
CONTENDER_NAMES: Final = (
    "oracle", "ladder", "peeking-z", "always-widen", "thompson", "rule-apart", "rule",
    "rule-kept", "rule-priced", "rule-capped", "joint-learned", "joint-true",
)  # fmt: skip
SERVER_NAMES: Final = ("knowing", "leasing", "lagging")
EXTRA: Final = ("matplotlib",)
"""What the extra `simulate` brings."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to compare. Empty or None: as `full` (a night) or `many` (a comparison) says, else one.

    `size` is the share of the full size's videos.
    """

    full: bool = False
    many: bool = False
    worlds: tuple[str, ...] = ()
    regimes: tuple[Regime, ...] = ()
    contenders: tuple[str, ...] = ()
    seeds: int | None = None
    size: float | None = None
    servers: str = "knowing"
    processes: int | None = None  # at a time


@dataclass(frozen=True, slots=True)
class Cell:
    """One world in one regime with one seed, for these contenders; what one process works on."""

    folder: Path
    world: str
    regime: Regime
    seed: int
    size: float
    servers: str
    contenders: tuple[str, ...]


def cells_of(choice: Choice, folder: Path) -> list[Cell]:
    """Return the cells of a choice; `folder` holds the policy and the slices."""
    many = choice.full or choice.many
    worlds = choice.worlds or (("all",) if choice.full else ("correlated",))
    if "all" in worlds:
        worlds = WORLD_NAMES
    usual: tuple[Regime, ...] = REGIME_NAMES if many else ("middle",)
    regimes = choice.regimes or usual
    seeds = range(1, (choice.seeds or (5 if many else 1)) + 1)
    size = choice.size or (1.0 if choice.full else 0.1)
    contenders = choice.contenders or CONTENDER_NAMES
    return [
        Cell(folder, world, regime, seed, size, choice.servers, contenders)
        for world, regime, seed in product(worlds, regimes, seeds)
    ]


def require_extra() -> None:
    """Raise `Halt` unless what the simulator needs is installed."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise Halt(
            f"simulate needs {' and '.join(missing)}: install streams with its extra simulate"
        )
