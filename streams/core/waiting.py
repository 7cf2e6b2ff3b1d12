"""What waits for a person: a record of the compacted topic `waiting`, one a cause and video.

A record without a value says that nothing waits there any more. The key begins with the cause, so
that each cause has one author: the gate's is the control plane, that of reports is the fold.
"""

from typing import Final, Literal

import msgspec

from streams.core.fields import Id, Millis

Cause = Literal["gate", "reports"]


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="waiting"):
    """A video that waits for a person, since when (ms), and why.

    `gate`: no rule lets it be shown, `rule` the one that says so, if any. `reports`: viewers who
    were shown it report it more often than the policy bears. `title` is known of the gate's alone.
    """

    video: Id
    cause: Cause
    since: Millis
    why: str
    creator: str = ""
    rule: str = ""
    title: str = ""


encode: Final = msgspec.json.Encoder().encode
"""The spelling that goes on the topic."""
decode: Final = msgspec.json.Decoder(Waiting).decode


def key_of(cause: Cause, video: str) -> bytes:
    """Return the key of a record; it stands in the partition that its video has in the log.

    >>> key_of("gate", "v1")
    b'gate:v1'
    """
    return f"{cause}:{video}".encode()
