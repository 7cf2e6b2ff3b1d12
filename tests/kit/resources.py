"""What a process holds of the machine: memory, descriptors, connections."""

from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """Resident memory in MB, and open descriptors, sockets among them."""

    memory_mb: int
    descriptors: int

    @classmethod
    def by(cls, pid: int) -> "Held":
        """Return what a process holds now."""
        process = Path("/proc") / str(pid)
        lines = (process / "status").read_text().splitlines()
        [memory] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
        return cls(int(memory) // 1024, len(list((process / "fd").iterdir())))
