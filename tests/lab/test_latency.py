"""What a paced load is, and what is told of how long its events took."""

from streams.lab.latency import IDLE_POLL_S, POLL_S, Beat, Sent, loads, send_paced, waited
from streams.lab.load import Batch
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.ports import Outgoing

LOG = "interactions"


def batch(partition: int, records: int) -> Batch:
    return partition, [Outgoing(LOG, b"{}", b"k", (), partition)] * records, records


def test_an_idle_machine_gets_one_event_at_a_time() -> None:
    beat = Beat.of(7.0)
    assert (beat.events, round(beat.apart_s, 3), beat.poll_s) == (1, 0.143, IDLE_POLL_S)


def test_a_load_comes_fifty_times_a_second_and_is_looked_at_less_often() -> None:
    beat = Beat.of(33_000.0)
    assert (beat.events, beat.apart_s, beat.poll_s) == (660, 0.02, POLL_S)


def test_idle_and_three_shares_of_the_full_load_are_measured() -> None:
    assert dict(loads(1_000)) == {
        "idle": 7.0,
        "at_50_percent": 500.0,
        "at_70_percent": 700.0,
        "at_90_percent": 900.0,
    }


async def test_batches_are_sent_when_they_are_due_and_their_places_noted() -> None:
    log = MemoryLog()
    log.create(LOG, 2)
    log.append(batch(1, 1)[1][0])
    batches = [[batch(0, 2), batch(1, 3)], [], [batch(1, 1)]]
    sent, behind_s = await send_paced(MemoryProducer(log), LOG, batches, 0.001, [0, 1])
    assert [(one.partition, one.offset, one.events) for one in sent] == [
        (0, 1, 2),
        (1, 3, 3),
        (1, 4, 1),
    ]
    assert sent[0].due == sent[1].due
    assert round(sent[2].due - sent[0].due, 6) == 0.002
    assert behind_s >= 0
    assert len(log.records(LOG, 1)) == 5


def test_waits_count_from_when_an_event_was_due_to_the_first_look_at_its_counter() -> None:
    sent = [Sent(1.0, 0, 0, 1), Sent(2.0, 0, 9, 1)]
    looks = {0: [(-1, 0.5), (0, 1.004), (9, 2.5)]}
    assert waited(sent, looks, 0.0) == {"p50": 4.0, "p99": 500.0, "sender_behind_at_most_ms": 0.0}
