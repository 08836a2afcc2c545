"""How a worker ended, and what to tell the person who waits. For every runner."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass
from typing import Literal

from pipelines.runners import Job
from pipelines.runners.output import OURS, WorkerLog
from registry.errors import PipelineError, TryAgain, WorkerFailed
from training.worker import load_failure

Why = Literal["exited", "timeout", "memory", "stopped", "lost"]
OUT_OF_MEMORY = re.compile(
    r"MemoryError|bad_alloc|Cannot allocate memory|OOM when allocating|ResourceExhausted|RESOURCE_EXHAUSTED"
    r"|Unable to allocate|out of memory|failed to allocate memory"
)
MORE_MEMORY = "raise [runner] memory_mb, or lower [training] batch_size"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker ended, in the guard's words."""

    why: Why
    status: int | None = None
    """As from `os.waitpid`."""
    peak_mb: int = 0
    """Resident memory of the largest process."""
    left: tuple[str, ...] = ()
    """Processes that could not be killed."""

    @property
    def code(self) -> int | None:
        """The exit code; minus the number of the signal that killed it; None when that is not known."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    @property
    def well(self) -> bool:
        """It ended by itself, with code 0."""
        return self.why == "exited" and self.code == 0 and not self.left

    @property
    def words(self) -> str:
        """For messages and the log."""
        if self.why != "exited" or self.code is None:
            return {"timeout": "was out of time", "memory": "was out of memory"}.get(self.why, "was stopped")
        if self.code < 0:
            return f"was killed by {_signal_name(-self.code)}"
        return f"ended with exit code {self.code}"

    @property
    def hint(self) -> str:
        """What is known about some ways to end."""
        if self.code == -signal.SIGKILL:
            return "most often the machine ran out of memory: see `dmesg`, and " + MORE_MEMORY
        return ""


def explain(job: Job, ending: Ending, log: WorkerLog) -> PipelineError:
    """Why there is no result, or no server: the worker's own `error.json`, else what can be told from outside."""
    limits, name, hint = job.limits, f"worker {job.name}", f"see {log.path}"
    memory = f"the limit is {limits.memory_mb} MiB" if limits.memory_mb else "there is no limit but the machine"
    if ending.left:
        left = " ".join(ending.left)
        return WorkerFailed(f"{name}: processes {left} could not be killed", hint=f"look at them: ps -fp {left}")
    if ending.why == "timeout":
        hint = f"raise [runner] timeout_minutes (for tests [acceptance] timeout_seconds), or {hint}"
        return WorkerFailed(f"{name} ran longer than {_span(limits.seconds)} and was killed", hint=hint)
    if ending.why == "memory":
        return WorkerFailed(f"{name} ran out of memory, all processes together: {memory}", hint=MORE_MEMORY)
    if ending.why == "stopped":
        return TryAgain(f"{name} was stopped from outside", hint="somebody ended it, or the machine shuts down")
    if ending.why == "lost":
        return WorkerFailed(f"{name} was killed together with its guard", hint=f"out of memory? {hint}")
    if failure := load_failure(log.path.parent):
        if isinstance(failure, WorkerFailed) and OUT_OF_MEMORY.search(str(failure)):
            return WorkerFailed(f"{failure}: {memory}", hint=failure.hint or MORE_MEMORY)
        return failure
    said = _last_words(log)
    if ending.code and (words := next(filter(OUT_OF_MEMORY.search, reversed(said)), "")):
        return WorkerFailed(f"{name} ran out of memory: {memory}; it said: {words:.200}", hint=MORE_MEMORY)
    how = "ended by itself, without a result" if ending.well else ending.words
    return WorkerFailed(
        f"{name} {how}" + (f": {said[-1]:.200}" if said else ", without a word"), hint=ending.hint or hint
    )


def _last_words(log: WorkerLog) -> list[str]:
    """The worker's last lines, without the stack that Python prints after a crash in C."""
    said = [line.strip() for line in log.last if line.strip() and not line.startswith(OURS)]
    crash = next((i for i, line in enumerate(said) if line.startswith("Fatal Python error")), len(said))
    return said[: crash + (crash == 0)]


def _span(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"
