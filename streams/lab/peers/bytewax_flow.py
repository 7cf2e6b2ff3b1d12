"""Bytewax: one dataflow, a state for each counter, recovered from its snapshots."""

from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from streams.lab.peers.lap import Lap, Task, counter_of, finish


class Moves(DynamicSink[Any], StatelessSinkPartition[Any]):
    """How often a counter moved: the sink of the one worker."""

    def __init__(self) -> None:
        self.seen = 0

    def build(self, _step_id: str, _worker: int, _workers: int) -> "Moves":
        """Return what the worker writes into."""
        return self

    def write_batch(self, items: list[Any]) -> None:
        """Take the moves of a batch."""
        self.seen += len(items)


def main() -> None:
    """Count until the last record, and store the last snapshot."""
    task = Task.given()
    lap, moves = Lap(task), Moves()

    def names(records: list[KafkaSourceMessage]) -> list[tuple[str, int]]:
        lap.passed(len(records))
        counters = (counter_of(record.value) for record in records)
        return [(counter, 1) for counter in counters if counter is not None]

    flow = Dataflow("peer")
    source = KafkaSource(task.brokers.split(","), [task.topic], tail=False)
    events = op.flat_map_batch("names", op.input("log", flow, source), names)
    op.output("moves", op.stateful_map("count", events, add), moves)
    init_db_dir(Path(task.folder), 1)
    cli_main(flow, recovery_config=RecoveryConfig(task.folder))
    finish(moves.seen)


def add(before: int | None, events: int) -> tuple[int, int]:
    """Return a counter's next state, and what comes out of it.

    >>> add(None, 1)
    (1, 1)
    """
    after = (before or 0) + events
    return after, after


if __name__ == "__main__":
    main()
