"""How much memory this machine, or the container, can still give, and what a process gives back. Light."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def free_mb(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = CGROUP) -> int:
    """In MB, by the tighter of the two; 0: unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = meminfo.read_text(encoding="ascii")
        found.append(int(text.partition("MemAvailable:")[2].split()[0]) >> 10)
    with contextlib.suppress(OSError, ValueError):  # `max`: no limit
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        # What the page cache holds of files can be given up.
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines())
        found.append((limit - used + int(stat.get("inactive_file", 0))) >> 20)
    return max(1, min(found)) if found else 0


def give_back_freed() -> None:
    """Have the C library return to the machine what this process has freed; no-op with one other than glibc."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
