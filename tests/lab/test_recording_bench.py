"""The bench measures a whole round: recorded, replayed, folded, nothing lost on the way."""

from pathlib import Path

from kit.events import synthetic_log
from kit.keys import INSTALLATION
from kit.recordings import TOPIC, target

from streams.lab.recording_bench import Batch, RecordingLoad, measure
from streams.recording.folding import Rules
from streams.recording.reader import Recording
from streams.runtime.ports import Outgoing

RULES = Rules(100_000, 1 << 20)


def batches() -> list[Batch]:
    return [
        (
            number,
            [
                Outgoing(TOPIC, r.value, r.key, r.headers, number)
                for r in synthetic_log(number + 1, events=300, partition=number, partitions=2)
            ],
        )
        for number in range(2)
    ]


def test_every_phase_has_a_rate_and_its_memory(tmp_path: Path) -> None:
    records = sum(len(batch) for _, batch in batches())
    said = measure(RecordingLoad(batches(), 600, TOPIC, 2, INSTALLATION), RULES, tmp_path / "r")
    assert said["records"] == records == Recording(tmp_path / "r").manifest.records
    rates = [value for name, value in said.items() if name.endswith("_second")]
    assert len(rates) == 6
    assert all(int(rate) > 0 for rate in rates)
    assert int(said["receipts"]) > 0
    assert int(said["peak_memory_mib"]) > 0


def test_a_sink_gets_every_record(tmp_path: Path) -> None:
    log, cluster = target(2, TOPIC)
    measure(RecordingLoad(batches(), 600, TOPIC, 2), RULES, tmp_path / "r", cluster)
    sent = [r.value for number in range(2) for r in log.records(TOPIC, number)]
    assert sent == [out.value for _, batch in batches() for out in batch]
