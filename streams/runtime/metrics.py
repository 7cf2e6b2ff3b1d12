"""Every metric of the data plane, with kind, unit and meaning; a closed vocabulary.

A series whose labels are known beforehand is there at 0 from the start: a rate over one that
appears with its first event misses that event.
"""

from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from streams.core.events import CONTROL_TYPES, EVENT_TYPES
from streams.core.receipts import ACTIONS, Outcome
from streams.errors import REJECT_REASONS
from streams.runtime.letters import APP_VERSION

_FLUSH_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.events = self._counter(
            "events_processed",
            "Events by outcome; a duplicate is one that counts nothing inside the window of two "
            "generations: beyond it a repeat counts again.",
            *("topic", "event_type", "outcome"),
        )
        self.unknown_fields = self._counter(
            "events_unknown_fields", "Fields that no schema has; read over.", "topic"
        )
        self.dead_letters = self._counter(
            "dlq_events",
            "Records and elements written to the dead letters.",
            *("topic", "reason"),
        )
        self.bad_input = self._counter(
            "bad_input_alarms", "Minutes with more than 1 % bad records.", "topic", "partition"
        )
        self.misrouted = self._counter(
            "misrouted_alarms",
            "Minutes with more than 1 % records of other partitions' videos.",
            *("topic", "partition"),
        )
        self.decisions = self._counter("decisions", "Receipts written.", "surface", "action")
        self._describe_flushes()
        self._describe_reading()
        self._describe_indexing()
        self.loop_lag = self._gauge("event_loop_lag_seconds", "How late the event loop last ran.")
        self._dependency_up = self._gauge(
            "dependency_up", "1 while Kafka or Redis answers this process, else 0.", "dependency"
        )
        self._gauge("build_info", "Always 1.", "version").labels(APP_VERSION).set(1)

    def show_process(self) -> None:
        """Show this process' own figures too: memory, CPU, files, the collector."""
        disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each, unread
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def expect_topic(self, topic: str) -> None:
        """Show what may come of a log's records at 0."""
        for kind in sorted(set(EVENT_TYPES.values())):
            for outcome in get_args(Outcome):
                if kind not in CONTROL_TYPES or outcome != "late":
                    self.events.labels(topic, kind, outcome)
        self.events.labels(topic, "unknown", "invalid")
        self.unknown_fields.labels(topic)
        for reason in REJECT_REASONS:
            self.dead_letters.labels(topic, reason)
        for outcome in ("same", "differs", "not_comparable"):
            self.watermark_checks.labels(outcome)
        for cause in ("opened", "lost", "sweep"):
            self.index_refills.labels(cause)
        self.expect_surfaces(("all",))

    def expect_partition(self, topic: str, partition: int) -> None:
        """Show the alarms of a partition at 0."""
        for alarms in (self.bad_input, self.misrouted):
            alarms.labels(topic, str(partition))

    def expect_surfaces(self, surfaces: Iterable[str]) -> None:
        """Show the decisions on surfaces at 0."""
        for surface in surfaces:
            for action in ACTIONS:
                self.decisions.labels(surface, action)

    def show_dependency(self, name: str, up: bool) -> None:
        """Set the gauge of what this process depends on, `kafka` or `redis`."""
        self._dependency_up.labels(name.lower()).set(up)

    def _describe_flushes(self) -> None:
        self.flushes = Histogram(
            "streams_flush_duration_seconds",
            "From the snapshot of a flush to its stored watermark, acknowledgements included.",
            buckets=_FLUSH_SECONDS,
            registry=self.registry,
        )
        self.flush_rows = self._counter("flush_rows", "Rows written to Redis.")
        self.flush_retries = self._counter("flush_retries", "Flushes that had to be tried again.")
        self.conflicts = self._counter(
            "flush_conflicts", "Watermarks found elsewhere than expected, by flush or by audit."
        )
        self.rolled_back = self._counter(
            "rolled_back_offsets", "Offsets that Redis lost after acknowledging them; folded again."
        )
        self.commit_failures = self._counter(
            "commit_failures",
            "Offset commits that failed; lag tools see old positions meanwhile.",
        )
        self.store_alarms = self._counter("store_alarms", "Checks of Redis' settings that failed.")

    def _describe_reading(self) -> None:
        self.replayed = self._counter(
            "replayed_records", "Records read again for their ids after an assignment."
        )
        self.short_windows = self._counter(
            "short_windows", "Assignments whose ids retention had partly deleted."
        )
        self.watermark_checks = self._counter(
            "watermark_checks",
            "Openings by what stands at the watermark now: the same record, another one (differs), "
            "or nothing to compare it with (not_comparable).",
            "outcome",
        )
        self.rebalances = self._counter("rebalances", "Assignments taken over.")
        self.resumed = self._counter(
            "resumed_partitions",
            "Partitions that came back with nobody else's work in between: no id is read again.",
        )
        self.read_retries = self._counter(
            "read_retries", "Reads that the brokers failed for a while."
        )
        self.halted = self._gauge("halted_partitions", "Partitions that wait for an operator.")
        self.paused = self._gauge(
            "paused_partitions", "Partitions that rest because too many records are bad."
        )
        self.waiting = self._gauge(
            "waiting_partitions", "Partitions that wait for a broker or Redis to be opened or read."
        )
        self.evicted = self._counter("evicted_videos", "Clean videos dropped from memory.")
        self.loaded = self._counter("loaded_videos", "Videos brought into memory.")
        self.archived = self._counter(
            "archived_videos",
            "Videos that left Redis for the archive, with a pointer in their place.",
        )
        self.returned = self._counter(
            "returned_videos", "Archived videos whose rows are in Redis again: something happened."
        )
        self.archive_reads = self._counter(
            "archive_reads", "Videos read from the archive to go on with them."
        )

    def _describe_indexing(self) -> None:
        self.index_entries = self._counter(
            "index_entries", "Entries that the serving index took as newer than its own."
        )
        self.index_age = self._gauge(
            "index_age_seconds", "For how long the oldest entry has waited for the serving index."
        )
        self.index_refills = self._counter(
            "index_refills",
            "Slices of a partition filled again from its rows, or all of them: it was opened, the "
            "index lost what it had, or by the slow sweep.",
            "cause",
        )
        self.index_refill_left = self._gauge(
            "index_refill_left", "Refills of the serving index that are not done yet."
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"streams_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"streams_{name}", meaning, labels, registry=self.registry)
