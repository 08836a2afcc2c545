"""What this process uses, as the kernel counts it, and what its control group may: of a container, mostly."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = resource.getpagesize()
CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 60
"""Bytes: version 1 writes a number at least as large where memory is not limited."""


@dataclass(frozen=True, slots=True)
class Used:
    """By one process; 0 for what the system does not say."""

    cpu_seconds: float
    """Since the last time."""
    memory: float
    """Resident bytes; what processes share counts for each."""
    files: float
    """That are open, sockets included."""
    files_limit: float


class ProcessFacts:
    """Of the process that makes it."""

    def __init__(self) -> None:
        self._cpu = 0.0

    def look(self) -> Used:
        """What it uses now."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = usage.ru_utime + usage.ru_stime
        since, self._cpu = cpu - self._cpu, cpu
        return Used(since, _memory(), _files(), float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


def _memory() -> float:
    try:
        return float(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0.0


def _files() -> float:
    try:
        return float(os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")))  # the size: Linux 6.2
    except OSError:
        return 0.0


@dataclass(frozen=True, slots=True)
class CgroupFact:
    """One number of the control group; `name` is that of the metric, without `trainyard_cgroup_`."""

    name: str
    text: str
    value: float
    counter: bool = False


def cgroup(root: Path = CGROUPS) -> list[CgroupFact]:
    """What the control group at `root` says: version 2, or of version 1 the memory. A container sees its own there, a process
    of a machine that of all. What cannot be read is left out."""
    return list(_cgroup(root))


def _cgroup(root: Path) -> Iterator[CgroupFact]:
    for name in ("memory.current", "memory/memory.usage_in_bytes"):
        if (value := _number(root / name)) is not None:
            yield CgroupFact("memory_bytes", "Memory that the control group uses, caches of files included.", value)
            break
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        if (value := _number(root / name)) is not None and value < NO_LIMIT:
            yield CgroupFact("memory_limit_bytes", "Memory that the control group may use.", value)
            break
    stat = dict(each.split() for each in _text(root / "cpu.stat").splitlines() if each.count(" ") == 1)
    for key, name, text in (
        ("usage_usec", "cpu_seconds", "Processor time that the control group has used."),
        ("throttled_usec", "cpu_throttled_seconds", "Time for which it had to wait, having used its share."),
    ):
        with contextlib.suppress(KeyError, ValueError):
            yield CgroupFact(name, text, float(stat[key]) / 1e6, counter=True)
    with contextlib.suppress(ValueError, ZeroDivisionError):
        quota, period = _text(root / "cpu.max").split()
        if quota != "max":
            yield CgroupFact("cpu_limit_cores", "Processor cores that it may use.", float(quota) / float(period))


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
