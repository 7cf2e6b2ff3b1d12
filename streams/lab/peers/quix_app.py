"""Quix Streams, exactly once: counters in RocksDB with a changelog, all in transactions."""

from typing import Any

from quixstreams import Application, State

from streams.lab.peers.lap import Lap, Task, finish


def main() -> None:
    """Count until the last record, and commit."""
    task = Task.given()
    lap, counted = Lap(task), 0
    app = Application(
        task.brokers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=task.folder,
        loglevel="ERROR",
    )

    def count(event: dict[str, Any], state: State) -> None:
        nonlocal counted
        if "slice" in event:
            name = f"{event['video']}|{event['slice']}|{event['type']}"
            state.set(name, state.get(name, 0) + 1)
            counted += 1
        if lap.passed():
            app.stop()  # `run` commits and returns

    topic = app.topic(task.topic, key_deserializer="bytes", value_deserializer="json")
    app.dataframe(topic).update(count, stateful=True)
    app.run()
    finish(counted)


if __name__ == "__main__":
    main()
