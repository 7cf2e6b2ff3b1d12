"""Every metric of the control plane, with kind, unit and meaning; a closed vocabulary.

`streams_control_events_total{topic, outcome}`, `streams_control_letters_total{topic, reason}`,
`streams_control_early_verdicts_total`, `streams_control_conflicts_total`,
`streams_control_rollbacks_total`, `streams_control_recovering`,
`streams_control_dossiers_restored_total`, `streams_control_copies_repeated_total`,
`streams_control_policy_number`, `streams_control_policy_term`,
`streams_control_policy_conflicts_total`, `streams_control_policy_waiting_partitions`, and those of
the shares (`shares.gauges`) and of creators (`creators`).
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.control.creators import CreatorMetrics
from streams.control.shares.gauges import ShareMetrics
from streams.errors import REJECT_REASONS


class ControlMetrics:
    """The control plane's metrics, in `registry`; None keeps them to whoever made them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.events: Final = Counter(
            "streams_control_events",
            "Records taken from the control plane's topics, by outcome: handled, refused (a dead "
            "letter), retried (a batch that had to wait for Kafka or Redis).",
            ["topic", "outcome"],
            registry=registry,
        )
        self.letters: Final = Counter(
            "streams_control_letters",
            "Records that the control plane wrote to the dead letters.",
            ["topic", "reason"],
            registry=registry,
        )
        self.early_verdicts: Final = Counter(
            "streams_control_early_verdicts",
            "Verdicts on videos whose upload is not known yet: kept, and in force with the upload.",
            registry=registry,
        )
        self.conflicts: Final = Counter(
            "streams_control_conflicts",
            "Batches begun again because another control plane wrote one of their dossiers.",
            registry=registry,
        )
        self.rollbacks: Final = Counter(
            "streams_control_rollbacks",
            "Times that Redis was found to have lost dossiers after acknowledging them.",
            registry=registry,
        )
        self.recovering: Final = Gauge(
            "streams_control_recovering",
            "1 while the control topics are read again, and nothing new is handled.",
            registry=registry,
        )
        self.restored: Final = Counter(
            "streams_control_dossiers_restored",
            "Dossiers that Redis had lost and that were put back from the topic `dossiers`.",
            registry=registry,
        )
        self.repeated: Final = Counter(
            "streams_control_copies_repeated",
            "Copies written to the topic `dossiers` again because a lesser one came behind them.",
            registry=registry,
        )
        self.policy_number: Final = Gauge(
            "streams_control_policy_number",
            "Number, within its term, of the policy that this control plane goes by as the leader.",
            registry=registry,
        )
        self.policy_term: Final = Gauge(
            "streams_control_policy_term",
            "Term that this control plane leads in, 0 while it does not lead.",
            registry=registry,
        )
        self.policy_conflicts: Final = Counter(
            "streams_control_policy_conflicts",
            "Partitions found with another policy of the same term and number: somebody else wrote "
            "in this leader's name.",
            registry=registry,
        )
        self.policy_waiting: Final = Gauge(
            "streams_control_policy_waiting_partitions",
            "Partitions where that policy is not seen in force yet.",
            registry=registry,
        )
        self.shares: Final = ShareMetrics(registry)
        self.creators: Final = CreatorMetrics(registry)

    def expect(self, topics: Iterable[str]) -> None:
        """Show what may come of the records of topics at 0."""
        for topic in topics:
            for outcome in ("handled", "refused", "retried"):
                self.events.labels(topic, outcome)
            for reason in REJECT_REASONS:
                self.letters.labels(topic, reason)
