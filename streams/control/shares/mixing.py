"""The leader's minute: traffic is read, promises are steered, and the mix that follows is written.

Pure parts are in `steering`; here is what they need of the world: the topics `traffic` and `mix`,
and what the serving index could still show. What does not answer is left out, and said.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from streams.control.log import ControlLog, Ports, now_ms
from streams.control.metrics import ControlMetrics
from streams.control.policy.file import versioned
from streams.control.shares import steering
from streams.control.shares.due import DueShare, due_share
from streams.control.shares.organic import OrganicMeans
from streams.control.shares.rules import ShareRules
from streams.control.shares.traffic import TrafficTail
from streams.core.events import Policy
from streams.core.halves import differing, in_order, is_frozen, with_learned
from streams.core.shares import Bar
from streams.core.traffic_view import unsteered
from streams.core.units import surface_of
from streams.errors import Retry
from streams.runtime.leases import CLASSES
from streams.runtime.mixes import Ceiling, Mix, latest_mix, mix_records
from streams.runtime.ports import Clock
from streams.settings import Settings

log: Final = logging.getLogger("streams.control")

READ_S: Final = 5.0
"""So often new minutes of traffic are looked for."""
OWED_TICKS: Final = 3
"""Only minutes as late as that are owed for: what nobody steered is no debt of the loop."""
LEAN_S: Final = 1_800.0
"""The prices lean another way at most so often."""
LIFT: Final = 1 << 40
"""A tilt that has all of a class before anything else, or none of it."""
LOOKED_AT: Final = 200
"""So many of a slice's best are asked what is left of them."""
SLOTS_MINUTES: Final = 60
WINDOW_TICKS: Final = 5
"""Shares are shown, and alarmed at, over so many minutes."""


class Mixing:
    """Steers the shares while this control plane leads; `step` is called every second.

    `rules` gives the promises of the files in force.
    """

    def __init__(
        self,
        settings: Settings,
        control_log: ControlLog,
        ports: Ports,
        rules: Callable[[], ShareRules],
        metrics: ControlMetrics,
        clock: Clock = time.monotonic,
    ) -> None:
        self.mix: Mix | None = None  # the last one that was written
        self._settings: Final = settings
        self._log: Final = control_log
        self._ports: Final = ports
        self._rules: Final = rules
        self._metrics: Final = metrics
        self._clock: Final = clock
        self._traffic: TrafficTail | None = None
        self._promises: steering.Promises = ()
        self._organic = OrganicMeans()
        self._leaning: Mapping[str, int] | None = None  # as the last mix took the prices to lean
        self._term = 0
        self._next_at = self._lean_at = float("-inf")
        self._gain_tick = self._behind = 0

    @property
    def minute(self) -> int:
        """The minute by which most partitions go, 0 while that is not known."""
        return 0 if self._traffic is None else self._traffic.now

    async def step(
        self, term: int, policy: Policy, by: str = "", ceiling: Ceiling | None = None
    ) -> None:
        """Write the mix of a minute that most of the traffic knows, if there is a new one.

        It tells how creators stand to the `ceiling`. `Retry` if Kafka does not take it, or does not
        tell what was there before.
        """
        if self._clock() < self._next_at:
            return
        self._next_at = self._clock() + READ_S
        if term != self._term:
            await self._begin(term)
        assert self._traffic is not None
        async with self._ports.turn:
            await self._traffic.read(self._ports.reader)
        tick = self._traffic.now
        if tick > (self.mix.seq if self.mix else 0):
            mix = await self._next_mix(term, tick, policy)
            mix = replace(mix, by=by, ceiling=ceiling)
            await self._log.publish_mix(mix)
            self.mix = mix
            self._show(mix)

    def rest(self) -> None:
        """Forget everything: another control plane leads."""
        if self._term:
            self._term, self._traffic = 0, None
            self._metrics.shares.clear()

    async def next_policy(self, policy: Policy) -> Policy | None:
        """Return the policy that follows what hours of traffic say, None if that is this one.

        Its prices lean as the latest mix takes them to, and it has the means of organic traffic.
        """
        if not self._term or policy.pinned or self._clock() < self._lean_at:
            return None
        leans = policy.leans if self._leaning is None else dict(self._leaning)
        wanted: Policy = replace(policy, leans=leans, organic=self._organic.moved(policy))
        moved = with_learned(policy, wanted, ["shares", "organic"], policy.frozen)
        families = differing(policy, moved)
        if not families:
            return None
        self._lean_at = self._clock() + LEAN_S
        why = "; ".join(f"{family}: {self._reasons()[family]}" for family in families)
        return versioned(
            replace(moved, moved=in_order({*policy.moved, *families}), why=why, evidence={})
        )

    def _reasons(self) -> Mapping[str, str]:
        held = ", ".join(f"{each.name} {each.slow}" for each in self._promises if each.slow)
        return {
            "shares": f"the prices lean by what they were tilted for hours ({held or 'nothing'})",
            "organic": "a view of organic traffic is worth something else by now",
        }

    async def _begin(self, term: int) -> None:
        """Go on from the last mix, whoever wrote it."""
        trust = self._log.installation.trust(whole=False)
        async with self._ports.turn:
            records, _ = await mix_records(self._ports.reader, self._settings)
        self.mix = latest_mix(records, trust)
        self._promises = () if self.mix is None else self.mix.promises
        self._behind = 0 if self.mix is None else self.mix.seq
        self._traffic = TrafficTail(self._settings, self._log.partitions)
        self._organic = OrganicMeans()
        self._leaning = None
        self._term = term
        log.info("steers the shares from %s on", self.mix.seq if self.mix else "the first minute")

    async def _next_mix(self, term: int, tick: int, policy: Policy) -> Mix:
        assert self._traffic is not None
        rules, before, day = self._rules(), self.mix, tick // steering.DAY_TICKS
        worth = before.worth if before is not None and before.day == day else None
        sums = self._traffic.take(max(tick - OWED_TICKS, self._behind))
        self._organic.take(policy.weights, sums)
        promises = self._steered(rules, tick, sums, goes_on=worth is not None)
        unmeasured = self._traffic.view.unmeasured(OWED_TICKS)
        measured = 2 * len(unmeasured) <= self._log.partitions
        supply = await self._supply(rules, promises, policy)
        promises = steering.judged(rules, promises, supply, measured=measured)
        due = await self._due(policy)
        self._promises = promises
        return Mix(
            term,
            tick,
            now_ms(),
            tilts=steering.tilts_of(promises, self._leans(promises, policy)),
            due={name: each.share for name, each in due.items()},
            private_slots=steering.private_slots(promises),
            promises=promises,
            short=tuple(name for name, each in due.items() if each.is_short),
            unmeasured=unmeasured,
            day=day,
            worth=steering.worth_of(policy.weights, sums) + (worth or 0),
        )

    def _steered(
        self, rules: ShareRules, tick: int, sums: steering.Sums, *, goes_on: bool
    ) -> steering.Promises:
        """Return the promises, as the files have them by now, after one minute more."""
        assert self._traffic is not None
        promises = steering.begin(rules, self._promises)
        if not goes_on:  # another day
            promises = tuple(replace(each, cost=0) for each in promises)
        promises = steering.take_tick(rules, promises, sums)
        if tick - self._gain_tick < steering.GAIN_TICKS:
            return promises
        self._gain_tick = tick
        return steering.take_gains(
            rules, promises, self._traffic.view.window(steering.GAIN_TICKS).sums
        )

    def _leans(self, promises: steering.Promises, policy: Policy) -> Mapping[str, int]:
        """Return what prices lean by under this mix: what they do, or what they are to do with it.

        Both come into force within seconds, so nothing counts twice meanwhile. Where the policy did
        not follow by the next mix, that is put off.
        """
        before, self._leaning = self._leaning, None
        if before is not None and before != policy.leans:
            self._lean_at = self._clock() + LEAN_S
        held = policy.pinned or is_frozen(policy.frozen, "shares")
        if held or self._clock() < self._lean_at:
            return policy.leans
        leans = steering.leans_of(promises, policy.leans)
        self._leaning = leans if leans != policy.leans else None
        return leans

    async def _supply(
        self, rules: ShareRules, promises: steering.Promises, policy: Policy
    ) -> Mapping[str, int]:
        """Return how many impressions could still be filled by what raises each missing share.

        As far as it matters, and only where the index answers.
        """
        paces = {each.name: each.pace for each in promises}
        supply: dict[str, int] = {}
        for bar in steering.missing(rules, promises):
            with suppress(Retry):
                enough = paces[bar.name] // steering.SUPPLY_PART + 1
                supply[bar.name] = await self._left(bar, policy, enough)
        return supply

    async def _left(self, bar: Bar, policy: Policy, enough: int) -> int:
        tilts = {kind: LIFT if bar.raises(kind) else -LIFT for kind in CLASSES}
        left = 0
        for name in policy.slices:
            if left < enough and (surface_of(name) == "following") == (bar.name == "private"):
                best = await self._ports.index.top(name, LOOKED_AT, tilts)
                left += sum(each.left for each in best)
        return left

    async def _due(self, policy: Policy) -> Mapping[str, DueShare]:
        """Return the share of newcomers of each public slice whose slots are known."""
        due, index = {}, self._ports.index
        for name in policy.slices:
            if surface_of(name) == "following":
                continue
            try:
                newcomers = await index.newcomers(name)
                slots = await index.slots(name, SLOTS_MINUTES)
            except Retry:
                continue
            if slots:
                minutes = slots[-1].minute - slots[0].minute + 1
                each = sum(one.asked for one in slots) / minutes
                due[name] = due_share(newcomers, each, now_ms(), policy.guarantee_ms)
        return due

    def _show(self, mix: Mix) -> None:
        assert self._traffic is not None
        sums = self._traffic.view.window(WINDOW_TICKS).sums
        shares = {bar.name: bar.share(sums) for bar in self._rules().bars}
        self._metrics.shares.show(mix, shares, unsteered(sums.values()))
