"""Dossiers as bytes: how Redis and the topic `dossiers` hold them, and how they are read.

A document is stored as `{"revision":7,"dossier":{…}}`, in Redis and in the topic alike, so both can
be read by any language and compared at a glance. The topic keeps the last record of each video; a
control plane that was paused may write an older one behind a newer one, so whoever reads it takes
the greatest revision.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from streams.core.partitioner import partition_of
from streams.runtime.ports import Document, Dossiers, Outgoing, Record
from streams.settings import Settings

TOPIC: Final = "dossiers"
UNREADABLE: Final = -1
"""The revision of stored bytes that say none: any other one is greater."""
DOCUMENT_RECORDS: Final = 2
"""A document may be as large as so many of the largest records."""

CLAIMS: Final = "claims"
"""Stands among the topics that a partition's dossiers hold, with how many claims it took so far."""
CLAIM_DAYS: Final = 8
"""Days that full guarantees of a creator are kept for, up to the latest one."""
CLAIM_S: Final = CLAIM_DAYS * 86_400
"""A creator who has had none for so long is not kept at all: the day of any is over."""

_STORED: Final = re.compile(rb'\{"revision":([0-9]{1,15}),"dossier":(.*)\}', re.DOTALL)
_VIDEO: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")


def stored_form(document: Document) -> bytes:
    """Return a document as it is stored.

    >>> stored_form(Document(7, b"{}"))
    b'{"revision":7,"dossier":{}}'
    """
    return b'{"revision":%d,"dossier":%b}' % document


def from_stored(raw: bytes) -> Document:
    """Return the document that was stored; of other bytes all, as `UNREADABLE`.

    >>> from_stored(b'{"revision":7,"dossier":{}}'), from_stored(b"{")
    (Document(revision=7, text=b'{}'), Document(revision=-1, text=b'{'))
    """
    match = _STORED.fullmatch(raw)
    return Document(UNREADABLE, raw) if match is None else Document(int(match[1]), match[2])


def copy_of(settings: Settings, partition: int, video: str, document: Document) -> Outgoing:
    """Return the record of the topic `dossiers` that keeps a document."""
    return Outgoing(settings.topic(TOPIC), stored_form(document), video.encode(), (), partition)


def read_copy(record: Record) -> tuple[str, Document] | None:
    """Return video and document of a record of the topic, None if it holds none."""
    if record.key is None or record.value is None or not _VIDEO.fullmatch(record.key):
        return None
    document = from_stored(record.value)
    return None if document.revision == UNREADABLE else (record.key.decode(), document)


async def documents_of(
    dossiers: Dossiers, partitions: int, videos: Sequence[str]
) -> Mapping[str, bytes]:
    """Return what is known of videos of any partitions, without those that nothing is known of."""
    homes: defaultdict[int, list[str]] = defaultdict(list)
    for video in videos:
        homes[partition_of(video.encode(), partitions)].append(video)
    known: dict[str, bytes] = {}
    for partition, names in homes.items():
        kept = await dossiers.read(partition, "", names)
        known |= {video: document.text for video, document in kept.documents.items()}
    return known
