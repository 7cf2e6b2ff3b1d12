"""Recognisers that others bring: found by entry point, built at start, asked once per upload.

What one of them raises or answers wrongly is a fault under its name and stops nobody else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Protocol

import msgspec

from streams.core.events import Tag, Upload

ENTRY_POINT_GROUP: Final = "streams.recognisers"


class RecogniserPlugin(Protocol):
    """What an entry point of `streams.recognisers` provides.

    The entry point names a class. It is built once at start, in the control plane's process: with
    `from_config(folder)` when the class has one (`folder` holds the files of `config/`), with no
    argument otherwise. Whatever it raises is reported under its name and stops nobody else.
    """

    def recognise(self, upload: Upload) -> tuple[Tag, ...]:
        """Return what is seen in `upload`; called once per upload, on the event loop: be quick."""


@dataclass(frozen=True, slots=True)
class RecogniserFault:
    """A recogniser that could not be built, or that failed on one upload; for log and metric."""

    source: str
    error: str


def load_recognisers(
    folder: Path, installed: Iterable[EntryPoint] | None = None
) -> tuple[dict[str, RecogniserPlugin], tuple[RecogniserFault, ...]]:
    """Build every installed recogniser, by name; what fails comes back as a fault.

    `folder` holds the files of `config/`; `installed` stands in for the entry points that are.
    """
    points = entry_points(group=ENTRY_POINT_GROUP) if installed is None else installed
    built: dict[str, RecogniserPlugin] = {}
    faults: list[RecogniserFault] = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        if point.name in built:
            faults.append(RecogniserFault(point.name, f"{point.value}: the name is taken"))
            continue
        try:
            built[point.name] = _build(point, folder)
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            faults.append(_fault(point.name, error))
    return built, tuple(faults)


def _build(point: EntryPoint, folder: Path) -> RecogniserPlugin:
    factory = point.load()
    from_config = getattr(factory, "from_config", None)
    plugin: RecogniserPlugin = factory() if from_config is None else from_config(folder)
    if not callable(getattr(plugin, "recognise", None)):
        raise TypeError(f"{point.value} has no method recognise(upload)")
    return plugin


def recognise_all(
    recognisers: Mapping[str, RecogniserPlugin], upload: Upload
) -> tuple[dict[str, tuple[Tag, ...]], tuple[RecogniserFault, ...]]:
    """Ask every recogniser; return the tags by source, ready for `merge_tags`, and the faults.

    A source that raises or answers with anything but valid tags is a fault and says nothing.
    """
    by_source: dict[str, tuple[Tag, ...]] = {}
    faults: list[RecogniserFault] = []
    for source, recogniser in recognisers.items():
        try:
            said = msgspec.to_builtins(tuple(recogniser.recognise(upload)))
            by_source[source] = msgspec.convert(said, tuple[Tag, ...])
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            faults.append(_fault(source, error))
    return by_source, tuple(faults)


def _fault(source: str, error: Exception) -> RecogniserFault:
    text = " ".join(str(error).split())
    return RecogniserFault(source, f"{type(error).__name__}: {text}")
