"""How a runner starts the supervisor: its source, and its arguments."""

from __future__ import annotations

import math
from pathlib import Path

from pipelines.runners import Job

SOURCE = Path(__file__).with_name("supervisor.py")
"""A script of the standard library alone: it runs where Trainyard is not installed, or is of another version."""
MIB = 1 << 20


def arguments(fds: tuple[int, int], job: Job, grace: float) -> list[str]:
    """CONTROL REPORT SECONDS MEMORY DISK GRACE, as `supervisor.py` takes them; `fds` are CONTROL and REPORT."""
    limits = job.limits
    seconds = limits.seconds if math.isfinite(limits.seconds) else 0
    return [*map(str, (*fds, seconds, limits.memory_mb * MIB, limits.disk_mb * MIB, grace))]
