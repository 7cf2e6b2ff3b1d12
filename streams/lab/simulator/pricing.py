"""Prices that follow demand, tried beside fixed ones: the keeper moves none unless this pays."""

from typing import Final

import numpy as np
from msgspec.structs import replace

from streams.core.units import MICROS
from streams.lab.simulator.arrays import Ints
from streams.lab.simulator.keeping import KeptRule
from streams.lab.simulator.serving import Question, Servers
from streams.lab.simulator.world import World

STEP: Final = 2_000
"""A price moves by at most this in one record, micro-units of value."""
FULL: Final = 0.98
"""So much of the slots filled is all of them."""


class PricedRule(KeptRule):
    """The kept rule with small steps of each price towards the score that was leased last.

    Dual ascent on what a slice can show: up while its slots are filled, back towards the launch
    price while some stay empty.
    """

    def __init__(self, world: World, servers: Servers, step: int = STEP) -> None:
        super().__init__(world, servers)
        self._price_step = step
        count = len(world.slices)
        self._asked, self._filled, self._last = np.zeros(count), np.zeros(count), np.zeros(count)

    def choose(self, question: Question) -> Ints:
        """Show what is open and worth its price; note what was leased last."""
        tried = self.tried.copy()
        counts = super().choose(question)
        self._asked += question.slots
        self._filled += counts.sum(axis=1)
        least = np.where(counts > self.tried - tried, self._scores, np.inf).min(axis=1)
        self._last = np.where(np.isfinite(least), least, self._last)
        return counts

    def _keep(self) -> None:
        super()._keep()
        slices = {}
        full = self._filled >= FULL * self._asked
        for place, name in enumerate(self._world.slices):
            spec, launched = self.policy.slices[name], self._world.policy.slices[name].price
            net = round(float(self._last[place]) * MICROS)
            aim = spec.price + net if full[place] else launched
            price = next_price(spec.price, launched, aim, self._price_step)
            slices[name] = replace(spec, price=price)
        self._asked[:] = self._filled[:] = 0
        self._follow(replace(self.policy, slices=slices))


def next_price(price: int, least: int, aim: int, step: int = STEP) -> int:
    """Return the price of the next record: a step towards what it aims at, `least` or more.

    >>> next_price(350_000, 350_000, 440_000), next_price(351_000, 350_000, 350_000)
    (352000, 350000)
    """
    return max(price + max(min(aim - price, step), -step), least)
