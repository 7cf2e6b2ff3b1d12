"""The gauges of lag, under the names that dashboards know; a series that is not known is absent."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.ops.groups import Survey
from streams.ops.lag import Lag
from streams.ops.lag_collector import LagReport, by_group
from streams.ops.provable import Reach

_PLACE: Final = ("group", "topic", "partition")
_LOG: Final = ("topic", "partition")
_ROWS: Final = {
    "committed": ("kafka_consumergroup_group_offset", "Committed offset."),
    "lag": ("kafka_consumergroup_group_lag", "Records behind what readers can see."),
    "lag_seconds": (
        "kafka_consumergroup_group_lag_seconds",
        "Age of the record at the committed offset, 0 without lag.",
    ),
    "lost": (
        "streams_consumer_lost_records",
        "Records that retention deleted before the group read them.",
    ),
    "retention_used_ratio": (
        "streams_consumer_retention_used_ratio",
        "Age of the first unread record, as a share of the time that records are kept.",
    ),
    "change_per_second": (
        "streams_consumer_lag_change_per_second",
        "By how many records a second the lag grows.",
    ),
    "catchup_seconds": (
        "streams_consumer_lag_catchup_seconds",
        "When the lag is gone if it goes on like this.",
    ),
}
"""Field of a row -> metric and meaning."""
_LOGS: Final = {
    "end": ("kafka_partition_latest_offset", "Next offset to be written."),
    "log_start": ("kafka_partition_earliest_offset", "First offset that is still there."),
    "held": ("streams_open_transaction_records", "Records behind an open transaction."),
    "held_seconds": ("streams_open_transaction_seconds", "Age of its first record."),
}
_GROUPS: Final = {
    "max_lag": ("kafka_consumergroup_group_max_lag", "Most records behind in one partition."),
    "max_lag_seconds": (
        "kafka_consumergroup_group_max_lag_seconds",
        "Longest time behind in one partition.",
    ),
    "members": ("streams_consumer_group_members", "Members of the group."),
}


class LagMetrics(Collector):
    """Gauges of the last look, in a registry of their own."""

    def __init__(self, cluster_name: str) -> None:
        self.registry: Final = CollectorRegistry()
        self._cluster: Final = cluster_name
        self._report = LagReport((), Survey({}, {}), None)
        self._reach: Reach | None = None
        self.registry.register(self)

    def show_reach(self, reach: Reach | None) -> None:
        """Show how far the log reaches back from now on, None: it is not known."""
        self._reach = reach

    def show(self, report: LagReport) -> None:
        """Show this look from now on."""
        self._report = report

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every family, with the series that are known."""
        rows = self._report.rows
        for field, (name, meaning) in _ROWS.items():
            yield self._family(name, meaning, _PLACE, ((_place(row), row, field) for row in rows))
        logs = {row.place: row for row in rows}.values()
        for field, (name, meaning) in _LOGS.items():
            yield self._family(name, meaning, _LOG, ((_log(row), row, field) for row in logs))
        groups = by_group(self._report)
        for field, (name, meaning) in _GROUPS.items():
            series = (((one.group,), one, field) for one in groups)
            yield self._family(name, meaning, ("group",), series)
        yield from self._statuses()
        yield from self._sums()
        yield from self._silent()

    def _statuses(self) -> Iterator[GaugeMetricFamily]:
        family = self._labelled(
            "streams_consumer_lag_status", "1 for the status of now.", *_PLACE, "status"
        )
        for row in self._report.rows:
            family.add_metric([self._cluster, *_place(row), row.status], 1)
        yield family

    def _sums(self) -> Iterator[GaugeMetricFamily]:
        sums = Counter[tuple[str, str]]()
        for row in self._report.rows:
            sums[row.group, row.topic] += row.lag or 0
        family = self._labelled(
            "kafka_consumergroup_group_topic_sum_lag", "Records behind.", "group", "topic"
        )
        for (group, topic), lag in sums.items():
            family.add_metric([self._cluster, group, topic], lag)
        yield family

    def _silent(self) -> Iterator[GaugeMetricFamily]:
        """Yield what did not answer: its other series are absent meanwhile."""
        leaderless = self._labelled("streams_leaderless_partitions", "Without an answer.")
        leaderless.add_metric([self._cluster], len(self._report.leaderless))
        yield leaderless
        silent = self._labelled("streams_silent_groups", "Groups without an answer.")
        silent.add_metric([self._cluster], len(self._report.silent))
        yield silent
        reach = self._labelled(
            "streams_proof_retention_used_ratio",
            "What two snapshot intervals and the window of duplicates take of the log's retention.",
        )
        if self._reach is not None:
            reach.add_metric([self._cluster], self._reach.ratio)
        yield reach

    def _family(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        series: Iterable[tuple[Sequence[str], object, str]],
    ) -> GaugeMetricFamily:
        """Return the family of one field; a value that is not known has no series."""
        family = self._labelled(name, meaning, *labels)
        for values, row, field in series:
            if (value := getattr(row, field)) is not None:
                family.add_metric([self._cluster, *values], value)
        return family

    def _labelled(self, name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, meaning, labels=["cluster_name", *labels])


def _place(row: Lag) -> tuple[str, str, str]:
    return row.group, row.topic, str(row.partition)


def _log(row: Lag) -> tuple[str, str]:
    return row.topic, str(row.partition)
