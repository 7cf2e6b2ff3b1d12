"""What a process holds of the machine: memory, descriptors, sockets."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """Resident memory in MB, open descriptors, and the sockets among them."""

    memory_mb: int
    descriptors: int
    sockets: int

    @classmethod
    def by(cls, pid: int) -> "Held":
        """Return what a process holds now."""
        process = Path("/proc") / str(pid)
        lines = (process / "status").read_text().splitlines()
        [memory] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
        targets = [_target(one) for one in (process / "fd").iterdir()]
        sockets = sum(target.startswith("socket:") for target in targets)
        return cls(int(memory) // 1024, len(targets), sockets)


def _target(descriptor: Path) -> str:
    with suppress(FileNotFoundError):  # closed meanwhile
        return str(descriptor.readlink())
    return ""
