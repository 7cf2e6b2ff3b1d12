"""Every metric of the data plane, with kind, unit and meaning; a closed vocabulary."""

from typing import Final

from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)

from streams.runtime.letters import APP_VERSION

EVENTS: Final = Counter(
    "streams_events_processed",
    "Events by outcome; a duplicate is one that counts nothing inside the window of two "
    "generations: beyond it a repeat counts again.",
    ["topic", "event_type", "outcome"],
)
UNKNOWN_FIELDS: Final = Counter(
    "streams_events_unknown_fields", "Fields that no schema has; read over.", ["topic"]
)
DEAD_LETTERS: Final = Counter(
    "streams_dlq_events", "Records and elements written to the dead letters.", ["topic", "reason"]
)
BAD_INPUT: Final = Counter(
    "streams_bad_input_alarms", "Minutes with more than 1 % bad records.", ["topic", "partition"]
)
DECISIONS: Final = Counter("streams_decisions", "Receipts written.", ["surface", "action"])
FLUSHES: Final = Histogram(
    "streams_flush_duration_seconds",
    "From the snapshot of a flush to its stored watermark, acknowledgements included.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
FLUSH_ROWS: Final = Counter("streams_flush_rows", "Rows written to Redis.")
FLUSH_RETRIES: Final = Counter("streams_flush_retries", "Flushes that had to be tried again.")
CONFLICTS: Final = Counter(
    "streams_flush_conflicts", "Watermarks found elsewhere than expected, by flush or by audit."
)
ROLLED_BACK: Final = Counter(
    "streams_rolled_back_offsets", "Offsets that Redis lost after acknowledging them; folded again."
)
REPLAYED: Final = Counter(
    "streams_replayed_records", "Records read again for their ids after an assignment."
)
SHORT_WINDOWS: Final = Counter(
    "streams_short_windows", "Assignments whose ids retention had partly deleted."
)
REBALANCES: Final = Counter("streams_rebalances", "Assignments taken over.")
COMMIT_FAILURES: Final = Counter(
    "streams_commit_failures", "Offset commits that failed; lag tools see old positions meanwhile."
)
READ_RETRIES: Final = Counter("streams_read_retries", "Reads that the brokers failed for a while.")
HALTED: Final = Gauge("streams_halted_partitions", "Partitions that wait for an operator.")
EVICTED: Final = Counter("streams_evicted_videos", "Clean videos dropped from memory.")
LOADED: Final = Counter("streams_loaded_videos", "Videos brought into memory.")
STORE_ALARMS: Final = Counter("streams_store_alarms", "Checks of Redis' settings that failed.")
LOOP_LAG: Final = Gauge("streams_event_loop_lag_seconds", "How late the event loop last ran.")
DEPENDENCY_UP: Final = Gauge(
    "streams_dependency_up", "1 while Kafka or Redis answers this process, else 0.", ["dependency"]
)
BUILD: Final = Gauge("streams_build_info", "Always 1.", ["version"])


def serve_metrics(port: int) -> None:
    """Serve /metrics on loopback; 0 does nothing."""
    disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each, unread
    BUILD.labels(APP_VERSION).set(1)
    if port:
        start_http_server(port, addr="127.0.0.1")
