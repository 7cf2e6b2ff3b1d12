"""The shares as metrics: how each promise stands, and the mix that feeds go by."""

import time
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from streams.core.shares import PromiseName
from streams.core.units import MICROS
from streams.runtime.mixes import Mix
from streams.runtime.ports import Clock


class ShareMetrics:
    """Set by the leader with each mix; while another one leads, there are no series.

    `streams_floor_share_ratio{floor}`, `streams_floor_owed_impressions{floor}`,
    `streams_floor_tilt_value{floor}`, `streams_floor_short{floor, cause}`,
    `streams_mix_age_seconds{leader}`, `streams_mix_unsteered_ratio{leader}`.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._clock: Final = clock
        self._share: Final = Gauge(
            "streams_floor_share_ratio",
            "Share of the latest five minutes' impressions, of the floors private and ordinary and "
            "of the ceiling commercial.",
            ["floor"],
            registry=registry,
        )
        self._owed: Final = Gauge(
            "streams_floor_owed_impressions",
            "Impressions that are missing in a floor's class; above a ceiling, those too many.",
            ["floor"],
            registry=registry,
        )
        self._tilt: Final = Gauge(
            "streams_floor_tilt_value",
            "What a floor raises its class by, or a ceiling lowers it: value per view.",
            ["floor"],
            registry=registry,
        )
        self._short: Final = Gauge(
            "streams_floor_short",
            "1 while a share cannot be held, and why: supply, bound, surfaces, unmeasured, yields.",
            ["floor", "cause"],
            registry=registry,
        )
        self._age: Final = Gauge(
            "streams_mix_age_seconds",
            "Seconds since the leader wrote a mix.",
            ["leader"],
            registry=registry,
        )
        self._unsteered: Final = Gauge(
            "streams_mix_unsteered_ratio",
            "Share of the latest five minutes' impressions that went by no mix, or by an old one.",
            ["leader"],
            registry=registry,
        )

    def show(self, mix: Mix, shares: Mapping[PromiseName, int | None], unsteered: int) -> None:
        """Show a mix that was just written; `shares` and `unsteered` are micro-units."""
        self._short.clear()
        for promise in mix.promises:
            if (share := shares.get(promise.name)) is not None:
                self._share.labels(promise.name).set(share / MICROS)
            self._owed.labels(promise.name).set(promise.owed)
            self._tilt.labels(promise.name).set(promise.tilt / MICROS)
            if promise.short:
                self._short.labels(promise.name, promise.short).set(1)
        written = self._clock()
        self._age.labels(mix.by).set_function(lambda: self._clock() - written)
        self._unsteered.labels(mix.by).set(unsteered / MICROS)

    def clear(self) -> None:
        """Show nothing any more."""
        for gauge in (self._share, self._owed, self._tilt, self._short, self._age, self._unsteered):
            gauge.clear()
