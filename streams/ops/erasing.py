"""What still holds a viewer, where, and until when.

Nothing is deleted here: Kafka lets records go by their age, a segment at a time, and a tombstone
takes nothing out of a topic that is not compacted. What counts on is only that no new events come.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from streams.ops.explain import moment
from streams.ops.masking import names_viewer
from streams.ops.tail import Tail, partitions_of, read_tail
from streams.runtime.ports import Cluster, LogReader, Record
from streams.settings import TOPICS, Settings

LOG: Final = "interactions"
_HOUR_MS: Final = 3_600_000
_NEVER: Final = -1


class Traces:
    """What one place holds of a viewer, after `note` of each of its records."""

    def __init__(self, viewer: str) -> None:
        self.records = 0
        self.events = 0
        self.oldest: int | None = None
        self.newest: int | None = None
        self._viewer: Final = viewer

    def note(self, record: Record) -> None:
        """Take a record."""
        texts = [record.key, *(text for _, text in record.headers)]
        events = names_viewer(record.value, texts, self._viewer)
        if events:
            self.records += 1
            self.events += events
            times = [record.timestamp, *filter(None, (self.oldest, self.newest))]
            self.oldest, self.newest = min(times), max(times)

    def row(self, place: str, gone_by: int | None, why: str) -> dict[str, Any]:
        """Return what is told of the place; `gone_by` and the other times are in ms since 1970."""
        return {
            "place": place,
            "records": self.records,
            "events": self.events,
            "oldest": _moment(self.oldest),
            "newest": _moment(self.newest),
            "gone_by": _moment(gone_by),
            "why": why,
        }


async def traces_in_topics(
    reader: LogReader,
    cluster: Cluster,
    settings: Settings,
    viewer: str,
    tell: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Return a row for the log and for each topic of letters; reads them as a whole.

    `tell` hears how many records were read.
    """
    rows, read = [], 0
    for topic in (settings.topic(LOG), *map(settings.dead_letters, TOPICS)):
        traces = Traces(viewer)
        partitions = await partitions_of(cluster, topic, None)
        tail = Tail(topic, "earliest", None, follow=False)
        async for record in read_tail(reader, tail, partitions):
            traces.note(record)
            read += 1
            tell(read)
        rows.append(traces.row(topic, *_goes(traces.newest, await cluster.configs(topic))))
    return rows


def traces_in_recording(
    name: str, chunks: Iterator[Sequence[Record]], viewer: str
) -> dict[str, Any]:
    """Return the row of a recording."""
    traces = Traces(viewer)
    for chunk in chunks:
        for record in chunk:
            traces.note(record)
    return traces.row(name, None, "files: they stay until you delete them")


def places_apart() -> Iterator[dict[str, Any]]:
    """Yield a row for each place that is not searched: `records` is 0 where none can be."""
    for place, records, why in _APART:
        fields = dict.fromkeys(("events", "oldest", "newest", "gone_by"))
        yield {"place": place, "records": records, **fields, "why": why}


def _goes(newest: int | None, configs: Mapping[str, str]) -> tuple[int | None, str]:
    """Return by when a topic holds nothing of that age any more (None: unknown), and why then.

    A broker deletes a segment once its newest record is past its age, and a segment is written for
    `segment.ms` at most.
    """
    age, segment = (int(configs.get(name, _NEVER)) for name in ("retention.ms", "segment.ms"))
    if not configs:
        return None, "the broker does not tell how long it keeps records"
    if age < 0 or "delete" not in configs.get("cleanup.policy", "delete"):
        return None, "the topic keeps records for ever: set retention.ms"
    words = f"goes after {age // _HOUR_MS} h, and up to {max(segment, 0) // _HOUR_MS} h more"
    return None if newest is None else newest + age + max(segment, 0), f"{words} for its segment"


def _moment(ts: int | None) -> str | None:
    return None if ts is None else moment(ts)


_APART: Final[Sequence[tuple[str, int | None, str]]] = (
    ("Redis", 0, "sums, and bits that each stand for a hundredth of all viewers: no names"),
    ("receipts, traffic, tables", 0, "no names; a receipt names the event that caused it by id"),
    ("memory of workers", None, "names until the log is some generations on, or a restart"),
    ("uploads, recognitions, reviews", None, "not searched: creators, reviewers, free text"),
    ("other recordings, backups, mirrors", None, "not searched: name recordings by --recording"),
    (
        "producers, feed servers, their logs",
        None,
        "not searched: they are yours; ours log no event",
    ),
)
