"""A recording, looked at as a whole: what is in each partition, and all that is wrong."""

from collections.abc import Callable
from typing import Any

from streams.recording.damage import Checked, log_schema, quick, thorough
from streams.recording.manifest import Segment
from streams.recording.reader import Damaged, Recording
from streams.runtime.codec import Spelling


def verify_recording(
    recording: Recording, topic: str, spelling: Spelling, tell: Callable[[int], None]
) -> tuple[list[Checked], list[str]]:
    """Return what is in each partition that is whole, and all faults; reads every record.

    Records of `topic`, the log, are decoded too; `tell` hears of records as they are read.
    """
    faults = quick(recording)
    named = {fault.partition(":")[0] for fault in faults}
    rows = []
    for place in recording.places():
        segments = recording.manifest.of(*place)
        if named.intersection(segment.path for segment in segments):
            continue
        try:
            is_log = place[0] == topic
            schema = log_schema(recording.manifest, place, spelling) if is_log else None
            rows.append(thorough(recording, place, schema, tell))
        except Damaged as damaged:
            faults.append(str(damaged))
    return rows, faults


def summary_of(recording: Recording, topic: str, partition: int) -> dict[str, Any]:
    """Return what the manifest says of a partition; times in ms since 1970."""
    segments = recording.manifest.of(topic, partition)
    span = recording.manifest.topics[topic].spans[partition]
    return {
        "topic": topic,
        "partition": partition,
        "records": sum(segment.records for segment in segments),
        "first_offset": segments[0].first_offset if segments else None,
        "last_offset": segments[-1].last_offset if segments else None,
        "asked_from": span.start,
        "asked_to": span.end,
        "gaps": sum(segment.gaps for segment in segments),
        "first_time": min(_times(segments, "first_timestamp"), default=None),
        "last_time": max(_times(segments, "last_timestamp"), default=None),
        "segments": len(segments),
        "size": sum(segment.size for segment in segments),
    }


def _times(segments: list[Segment], name: str) -> list[int]:
    return [time for s in segments if (time := getattr(s, name)) is not None]
