"""When somebody should be woken or told: alert rules for Prometheus over our own metrics."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True)
class Alert:
    """One rule: every series of a metric that compares so, for so long.

    With `over` it is the metric's increase in that time that compares; `absent` fires where no
    series is there at all, and compares nothing.
    """

    name: str
    metric: str
    compares: Literal[">", "=="]
    bound: float
    summary: str
    """What is the case and what to do, in one line; `{{ $labels.x }}` is filled in."""
    labels: Mapping[str, str] = field(default_factory=dict)
    over: str | None = None
    absent: bool = False
    lasts: str = "0m"
    severity: Literal["page", "ticket"] = "page"

    @property
    def expression(self) -> str:
        """Return it in Prometheus' language.

        A counter with labels begins with its first event, which is no increase yet.

        >>> Alert("A", "m", "==", 1, "", {"x": "y"}).expression
        'm{x="y"} == 1'
        >>> Alert("A", "m_total", ">", 0, "", over="10m").expression
        '(m_total unless m_total offset 10m) > 0 or increase(m_total[10m]) > 0'
        """
        chosen = ",".join(f"{name}={json.dumps(value)}" for name, value in self.labels.items())
        series = f"{self.metric}{{{chosen}}}" if chosen else self.metric
        if self.absent:
            return f"absent({series})"
        compares = f"{self.compares} {self.bound:g}"
        if self.over is None:
            return f"{series} {compares}"
        begun = f"({series} unless {series} offset {self.over}) {compares}"
        return f"{begun} or increase({series}[{self.over}]) {compares}"


_PLACE: Final = "group {{ $labels.group }} in {{ $labels.topic }}[{{ $labels.partition }}]"
_STATUS: Final = "streams_consumer_lag_status"

ALERTS: Final = (
    Alert(
        "StreamsConsumerHalted",
        _STATUS,
        "==",
        1,
        f"{_PLACE} halted: `streams lag list` tells why and what to do",
        {"status": "HALTED"},
    ),
    Alert(
        "StreamsConsumerStopped",
        _STATUS,
        "==",
        1,
        f"{_PLACE} stands still and no member owns it: start a worker",
        {"status": "STOP"},
        lasts="1m",
    ),
    Alert(
        "StreamsConsumerStalled",
        _STATUS,
        "==",
        1,
        f"{_PLACE} stands still though a member owns it: look at that member's log",
        {"status": "STALL"},
        lasts="1m",
    ),
    Alert(
        "StreamsConsumerRewound",
        _STATUS,
        "==",
        1,
        f"{_PLACE} went back: who did that?",
        {"status": "REWIND"},
        severity="ticket",
    ),
    Alert(
        "StreamsConsumerFallsBehind",
        _STATUS,
        "==",
        1,
        f"{_PLACE} is slower than what is written: start more workers",
        {"status": "WARN"},
        lasts="15m",
        severity="ticket",
    ),
    Alert(
        "StreamsConsumerLate",
        "kafka_consumergroup_group_max_lag_seconds",
        ">",
        60,
        "group {{ $labels.group }} is {{ $value }} s behind: `streams lag status` tells where",
        lasts="5m",
    ),
    Alert(
        "StreamsRetentionNear",
        "streams_consumer_retention_used_ratio",
        ">",
        0.5,
        f"{_PLACE} loses records if it goes on like this: raise the topic's retention",
    ),
    Alert(
        "StreamsProofAtRisk",
        "streams_proof_retention_used_ratio",
        ">",
        1,
        "two snapshot intervals and the window of duplicates take {{ $value }} of the log's "
        "retention: run `streams counters snapshot` more often, or raise the retention",
        lasts="10m",
        severity="ticket",
    ),
    Alert(
        "StreamsRecordsLost",
        "streams_consumer_lost_records",
        ">",
        0,
        f"{_PLACE} lost {{{{ $value }}}} records to retention before it read them",
    ),
    Alert(
        "StreamsTransactionOpen",
        "streams_open_transaction_seconds",
        ">",
        60,
        "an open transaction holds {{ $labels.topic }}[{{ $labels.partition }}] back: end its "
        "producer, or `kafka-transactions.sh find-hanging`",
        lasts="1m",
    ),
    Alert(
        "StreamsPartitionLeaderless",
        "streams_leaderless_partitions",
        ">",
        0,
        "no leader answers for {{ $value }} partitions: look at the brokers",
        lasts="2m",
    ),
    Alert(
        "StreamsGroupSilent",
        "streams_silent_groups",
        ">",
        0,
        "no coordinator answers for {{ $value }} groups: look at the brokers",
        lasts="2m",
        severity="ticket",
    ),
    Alert(
        "StreamsLagUnknown",
        "streams_leaderless_partitions",
        "==",
        1,
        "nobody collects lag: run `streams lag watch --metrics-port 9108` and scrape it",
        absent=True,
        lasts="5m",
    ),
    Alert(
        "StreamsPartitionsHalted",
        "streams_halted_partitions",
        ">",
        0,
        "{{ $labels.instance }} has {{ $value }} halted partitions: its log tells what to do",
    ),
    Alert(
        "StreamsDependencyDown",
        "streams_dependency_up",
        "==",
        0,
        "{{ $labels.dependency }} does not answer {{ $labels.instance }}",
        lasts="1m",
    ),
    Alert(
        "StreamsRedisRolledBack",
        "streams_rolled_back_offsets_total",
        ">",
        0,
        "Redis lost {{ $value }} offsets that it had acknowledged; they are folded again",
        over="10m",
        severity="ticket",
    ),
    Alert(
        "StreamsRedisUnsafe",
        "streams_store_alarms_total",
        ">",
        0,
        "Redis may evict counters or cannot be asked: `streams doctor` tells what to set",
        over="10m",
    ),
    Alert(
        "StreamsBadInput",
        "streams_bad_input_alarms_total",
        ">",
        0,
        "more than 1 % of {{ $labels.topic }}[{{ $labels.partition }}] is bad: the dead letters "
        "tell why",
        over="10m",
        severity="ticket",
    ),
    Alert(
        "StreamsPartitionsPaused",
        "streams_paused_partitions",
        ">",
        0,
        "{{ $labels.instance }} rests {{ $value }} partitions of bad records: mend their producer",
        lasts="1m",
    ),
    Alert(
        "StreamsPolicyConflict",
        "streams_control_policy_conflicts_total",
        ">",
        0,
        "somebody else wrote a policy in the name of the leader {{ $labels.instance }}: who holds "
        "its key? `streams policy history` shows what the leader wrote",
        over="10m",
    ),
    Alert(
        "StreamsShareShort",
        "streams_floor_short",
        ">",
        0,
        "the share {{ $labels.floor }} is not held ({{ $labels.cause }}): `streams shares`",
        lasts="10m",
        severity="ticket",
    ),
    Alert(
        "StreamsPrivateFell",
        "streams_creators_private_lost_ratio",
        ">",
        0.5,
        "yesterday fans were shown less than half of the day before: `streams creator list` names "
        "the creators",
        severity="ticket",
    ),
    Alert(
        "StreamsMixIgnored",
        "streams_mix_unsteered_ratio",
        ">",
        0.1,
        "{{ $value }} of the impressions went by no mix, or by an old one: feed servers need "
        "`streams.client.Mixes`, and the topic mix",
        lasts="10m",
        severity="ticket",
    ),
    Alert(
        "StreamsMixOld",
        "streams_mix_age_seconds",
        ">",
        300,
        "the leader {{ $labels.leader }} wrote no mix for {{ $value }} s: does traffic reach it?",
        severity="ticket",
    ),
    Alert(
        "StreamsSharesUnsteered",
        "streams_mix_age_seconds",
        ">",
        0,
        "no control plane steers the shares: is one running, and scraped?",
        absent=True,
        lasts="10m",
        severity="ticket",
    ),
)
"""Every rule that is exported."""


def as_rules(alerts: Iterable[Alert] = ALERTS) -> str:
    """Return a file of rules for Prometheus."""
    return "groups:\n  - name: streams\n    rules:\n" + "".join(map(_rule, alerts))


def _rule(alert: Alert) -> str:
    return (
        f"      - alert: {alert.name}\n"
        f"        expr: {json.dumps(alert.expression)}\n"
        f"        for: {alert.lasts}\n"
        f"        labels:\n          severity: {alert.severity}\n"
        f"        annotations:\n          summary: {json.dumps(alert.summary)}\n"
    )
