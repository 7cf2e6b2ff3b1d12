"""Control records as releases up to 0.1.0 wrote them.

A log keeps them for as long as it is kept, and none is rewritten: they are read as what they were
up to a partition's `upgrade` record (`core.first`), and translated into today's types behind it,
where a replay signed them anew.
"""

from typing import Any, Final

import msgspec

from streams.core.events import ControlRecord, FirstAdmit, FirstRecord
from streams.core.first.translation import admit_of, policy_of

_decode_first: Final = msgspec.json.Decoder(FirstRecord).decode


class _Kind(msgspec.Struct):
    type: str = ""


_decode_kind: Final = msgspec.json.Decoder(_Kind).decode


def decode_control(
    decoder: msgspec.json.Decoder[Any], value: bytes, *, upgraded: bool = True
) -> ControlRecord | FirstRecord:
    """Decode a control record as `decoder` does, one of 0.1.0 into what it says today.

    Before the upgrade it stays what it was. Raises what any decoder of msgspec raises.
    """
    if not _may_be_first(value) or _decode_kind(value).type not in {"admit", "policy"}:
        today: ControlRecord = decoder.decode(value)
        return today
    first: FirstRecord = _decode_first(value)
    if not upgraded:
        return first
    return admit_of(first) if isinstance(first, FirstAdmit) else policy_of(first)


def _may_be_first(value: bytes) -> bool:
    """Tell whether a record may be of 0.1.0: today's have none of these names."""
    return b'"tier"' in value or b'"ordinary_subsidy"' in value
