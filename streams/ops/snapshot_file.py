"""One snapshot of a partition as a file: its header, who signed that, and what it holds.

    {"format":1,"installation":…,"watermark":…,"sha256":…}     the header, one line of JSON
    ed25519:KEY ID:SIGNATURE                                    of the header
    …                                                           the body, zstd

The body is lines of JSON: first meta and window, then a line for each video, with its rows as they
are stored. A snapshot has all rows, or those that changed since the one before, which its header
names by the hash of that one's header: whoever trusts the latest one can trust them all.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec
import zstandard
from msgspec import Struct

from streams.core.keys import Trust
from streams.core.state import Meta
from streams.core.window import FrozenWindow
from streams.errors import UNREADABLE, DeadLetter
from streams.ops.recount import ResumePoint
from streams.runtime.signing import Signer, require_seal, seal

FORMAT: Final = 1
KIND: Final = b"snapshot"
LEVEL: Final = 3

_UNREADABLE: Final = (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, StopIteration)


class Unfit(Exception):
    """Why a snapshot is not gone on from."""


class Origin(Struct, frozen=True):
    """Which partition of which log a snapshot is of."""

    installation: str
    topic_id: str
    partition: int
    partitions: int


class Header(Struct, frozen=True):
    """What a snapshot says of itself.

    `before` is the watermark of the one that it goes on from, -1 if there is none, `parent` the
    hash of that one's header. The proof begins at the offset `proved_from`. `whole_at` is the
    watermark of the latest one with all rows, of `whole_bytes`; those behind it, with this one, are
    `grown` bytes, 0 if this is it.
    """

    origin: Origin
    watermark: int
    made_at: int  # ms
    app_version: str
    before: int
    parent: str
    proved_from: int
    whole_at: int
    whole_bytes: int
    grown: int
    size: int  # of the body
    sha256: str  # of the body
    format: int = FORMAT

    @property
    def is_whole(self) -> bool:
        """Whether all rows are in it."""
        return self.whole_at == self.watermark


class Sealed(NamedTuple):
    """A snapshot that is whole, as it lies there; `name` is the hash of its header."""

    header: Header
    head: bytes
    signature: bytes
    body: bytes

    @property
    def name(self) -> str:
        """What the next one calls its parent."""
        return sha256(self.head).hexdigest()


class _State(Struct):
    meta: Meta
    window: FrozenWindow
    begins: int | None


_encode: Final = msgspec.json.Encoder().encode
_decode_header: Final = msgspec.json.Decoder(Header).decode
_decode_state: Final = msgspec.json.Decoder(_State).decode
_decode_rows: Final = msgspec.json.Decoder(tuple[str, dict[str, str]]).decode


def pack(point: ResumePoint, videos: Iterable[str]) -> bytes:
    """Return the body of a snapshot with the rows of these videos."""
    lines = [_encode(_State(point.meta, point.window, point.begins))]
    for video in sorted(videos):
        fields = {field: raw.decode() for field, raw in sorted(point.rows[video].items())}
        lines.append(_encode((video, fields)))
    packed: bytes = zstandard.ZstdCompressor(level=LEVEL).compress(b"\n".join(lines))
    return packed


def unpack(body: bytes, watermark: int, rows: dict[str, Mapping[str, bytes]]) -> ResumePoint:
    """Return what a body holds, on top of the `rows` of those before it; `Unfit` if it can't be.

    It must be one that somebody vouches for: what a body unpacks to has no bound.
    """
    try:
        lines = iter(_lines(body))
        state = _decode_state(next(lines))
        changed = dict(map(_decode_rows, lines))
    except _UNREADABLE as error:
        raise Unfit(f"its body cannot be read: {error}") from None
    for video, fields in changed.items():
        rows[video] = {field: raw.encode() for field, raw in fields.items()}
    return ResumePoint(watermark, state.meta, rows, state.window, state.begins)


def write(header: Header, body: bytes, signer: Signer) -> bytes:
    """Return a snapshot as it is kept."""
    text = _encode(header)
    return b"%b\n%b\n%b" % (text, seal(signer, KIND, text), body)


def read(text: bytes) -> Sealed:
    """Return a snapshot with a sound header and body; whose it is, is not looked at. `Unfit`."""
    head, signature, body = (*text.split(b"\n", 2), b"", b"")[:3]
    header = read_header(head)
    if header.format != FORMAT:
        raise Unfit(f"it has format {header.format}, this version reads {FORMAT}")
    if len(body) != header.size:
        raise Unfit(f"it is cut short: {len(body)} bytes of {header.size}")
    if sha256(body).hexdigest() != header.sha256:
        raise Unfit("it is damaged: its checksum differs")
    return Sealed(header, head, signature, body)


def read_header(line: bytes) -> Header:
    """Return a header that nobody vouches for, to be looked at only; `Unfit` if it is none."""
    try:
        return _decode_header(line)
    except UNREADABLE:
        raise Unfit("it is damaged: its header cannot be read") from None


def require_signed(sealed: Sealed, trust: Trust) -> None:
    """Raise `Unfit` unless somebody whose key is in force made it."""
    try:
        require_seal(sealed.signature, KIND, sealed.head, trust)
    except DeadLetter as letter:
        raise Unfit(f"nobody vouches for it: {letter}") from None


def require_origin(sealed: Sealed, origin: Origin) -> None:
    """Raise `Unfit` unless it is of this partition of this log."""
    theirs = sealed.header.origin
    for name in Origin.__struct_fields__:
        have, want = getattr(theirs, name), getattr(origin, name)
        if have != want:
            what = name.replace("_", " ")
            raise Unfit(f"it is foreign: of {what} {have}, this is {want}")


def _lines(body: bytes) -> Iterator[bytes]:
    text: bytes = zstandard.ZstdDecompressor().decompress(body)
    yield from text.split(b"\n")
