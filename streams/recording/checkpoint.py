"""How far a replay came: enough to go on without a gap, and to refuse what is another replay."""

from pathlib import Path
from typing import Final

import msgspec
import orjson

from streams.errors import Halt
from streams.recording.manifest import write_whole
from streams.runtime.ports import Place
from streams.runtime.reasons import PARSER_ERRORS

CHECKPOINT_VERSION: Final = 2


class Reached(msgspec.Struct, forbid_unknown_fields=True):
    """How far a target topic was filled: next offset of each of its partitions."""

    topic_id: str
    ends: dict[int, int] = {}


class Checkpoint(msgspec.Struct, forbid_unknown_fields=True):
    """Next offset of every partition whose earlier records are durable in the target.

    `plan` is the digest of whatever must be equal for a replay to be the same one; `began_ms` is
    the time from which its relative times (`-1h`) count.
    """

    plan: str
    run_id: str
    positions: dict[str, dict[int, int]]  # topic -> partition -> next offset
    sent: int  # records
    shift_ms: int | None  # what was added to timestamps
    began_ms: int = 0
    targets: dict[str, Reached] = {}  # by target topic
    version: int = CHECKPOINT_VERSION

    def places(self) -> dict[Place, int]:
        """Return the positions by place."""
        return {
            (topic, number): offset
            for topic, numbers in self.positions.items()
            for number, offset in numbers.items()
        }

    def ends(self) -> dict[Place, int]:
        """Return how far each partition of the target was filled."""
        return {
            (topic, number): end
            for topic, reached in self.targets.items()
            for number, end in reached.ends.items()
        }

    def require_plan(self, plan: str, path: Path) -> None:
        """Raise `Halt` unless this is the checkpoint of the replay with this plan."""
        if self.plan != plan:
            raise Halt(
                f"{path} belongs to another replay: the recording, the target, the topics or what "
                "is selected differs; resume with the same options"
            )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint, all or nothing; not synced, because a paced replay writes many."""
    try:
        text = orjson.dumps(msgspec.to_builtins(checkpoint, str_keys=True))
        write_whole(path, text, sync=False)
    except OSError as error:
        raise Halt(f"cannot write the checkpoint {path}: {error.strerror}") from None


def load_checkpoint(path: Path) -> Checkpoint:
    """Return what a file holds; `Halt` if it is no checkpoint."""
    try:
        checkpoint = msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except OSError as error:
        raise Halt(f"cannot read the checkpoint {path}: {error.strerror}") from None
    except PARSER_ERRORS as error:
        raise Halt(f"{path} is no checkpoint of a replay: {error}") from None
    if checkpoint.version != CHECKPOINT_VERSION:
        raise Halt(f"{path} was written by another version of streams")
    return checkpoint
