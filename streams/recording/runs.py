"""The receipts that a path stands for: a file of them, a recording of them, or one to be folded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from streams.errors import Halt
from streams.recording.damage import folder_of, require_whole
from streams.recording.diff import Run, read_run
from streams.recording.fold_checks import require_installation
from streams.recording.folding import Folder, Rules
from streams.recording.foreign import opened
from streams.recording.reader import Recording


@dataclass(frozen=True)
class RunReader:
    """Reads runs; `rules` are asked for only where something is to be folded.

    `full_name` gives a topic its prefix, `partitions` are those of topics that a file of plain
    events does not name.
    """

    full_name: Callable[[str], str]
    partitions: int
    rules: Callable[[], Rules]

    async def read(self, path: Path) -> Run:
        """Return the receipts of a run; `Halt` if the path stands for none."""
        if folder_of(path) is None and _holds_receipts(path):
            with path.open("rb") as file:
                return read_run(file, str(path))
        with opened(path, full_name=self.full_name, partitions=self.partitions) as recording:
            decisions = self.full_name("decisions")
            if decisions in recording.manifest.topics:
                require_whole(recording, {decisions})
                return read_run(_values(recording, decisions), str(path))
            return await self._fold(recording, str(path))

    async def _fold(self, recording: Recording, name: str) -> Run:
        topic = self.full_name("interactions")
        if topic not in recording.manifest.topics:
            raise Halt(
                f"{name} holds neither decisions nor interactions: there is nothing to compare"
            )
        require_whole(recording, {topic})
        rules = self.rules()
        require_installation(recording.manifest, rules)
        receipts: list[bytes] = []
        folder = Folder(recording, topic, rules, receipts.append)
        for place in recording.places():
            if place[0] == topic:
                await folder.partition(place[1])
        return read_run(receipts, name)


def _holds_receipts(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and {"action", "cause", "n"} <= fields.keys()


def _values(recording: Recording, topic: str) -> Iterator[bytes]:
    for name, partition in recording.places():
        if name == topic:
            for chunk in recording.chunks((name, partition)):
                yield from (record.value for record in chunk if record.value is not None)
