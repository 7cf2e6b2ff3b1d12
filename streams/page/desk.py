"""What the page reads from, and what it watches whether somebody looks or not."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from streams.control.admission.dossier import Dossier, decode
from streams.errors import Halt, StreamsError
from streams.ops.lag_collector import LagReport
from streams.ops.status import StatusSources
from streams.runtime.documents import documents_of
from streams.runtime.leases import ServingIndex
from streams.runtime.ports import Dossiers
from streams.runtime.reasons import PARSER_ERRORS

LOOK_S: Final = 5.0
"""Between two looks at the lag."""


@dataclass(frozen=True)
class PageSources:
    """What is asked: all that `streams status` asks, and what is known of videos and slices."""

    status: StatusSources
    dossiers: Dossiers
    index: ServingIndex


class Desk:
    """The sources, and the lag since the page runs: a history must be there when somebody comes."""

    def __init__(self, sources: PageSources, look_s: float = LOOK_S) -> None:
        self.sources: Final = sources
        self._look_s: Final = look_s
        self._report: LagReport | None = None
        self._why = "not read yet"

    async def watch(self) -> None:
        """Look at the lag for ever."""
        status = self.sources.status
        while True:
            try:
                self._report = await status.collector.look(status.now_ms())
            except StreamsError as error:
                self._report, self._why = None, str(error)
            await asyncio.sleep(self._look_s)

    def report(self) -> LagReport:
        """Return the last look; `Halt` with the reason if there is none."""
        if self._report is None:
            raise Halt(self._why)
        return self._report

    async def dossier(self, video: str) -> Dossier | None:
        """Return what the control plane knows of a video, None if that is nothing."""
        return (await self._dossiers([video])).get(video)

    async def titles(self, videos: Iterable[str]) -> dict[str, str]:
        """Return the titles that videos were uploaded with, so far as they are known."""
        known = await self._dossiers(videos)
        return {video: one.upload.title for video, one in known.items() if one.upload is not None}

    async def _dossiers(self, videos: Iterable[str]) -> dict[str, Dossier]:
        """Return dossiers by video; one that cannot be read costs no view."""
        partitions = self.sources.status.settings.partitions
        documents = await documents_of(self.sources.dossiers, partitions, list(videos))
        dossiers: dict[str, Dossier] = {}
        for video, document in documents.items():
            try:
                dossiers[video] = decode(document)
            except PARSER_ERRORS:
                continue
        return dossiers
