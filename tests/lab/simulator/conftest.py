"""Small worlds, built once each."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from streams.lab.simulator.admission import Platform, load_platform
from streams.lab.simulator.building import build_world
from streams.lab.simulator.names import Regime
from streams.lab.simulator.world import World

SMALLEST = 0.005  # ten videos

BuildWorld = Callable[..., World]


@pytest.fixture(scope="session")
def platform() -> Platform:
    return load_platform(Path(__file__).parents[3] / "config")


@pytest.fixture(scope="session")
def a_world(platform: Platform) -> BuildWorld:
    """Builds worlds of the shipped platform, ten videos of the first seed unless told otherwise."""

    @cache
    def build(
        name: str = "correlated", regime: Regime = "scarce", size: float = SMALLEST, seed: int = 1
    ) -> World:
        return build_world(platform, name, regime, size, seed)

    return build
