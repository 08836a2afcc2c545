"""How a worker ended, and what that means to the person who waits. For every runner."""

from __future__ import annotations

import os
import re
import signal
from typing import Literal

from pipelines.runners import Job
from pipelines.runners.supervisor.output import LOG_PREFIX, WorkerLog
from registry.dataclass import dataclass
from registry.errors import FREE_SPACE, PipelineError, TryAgain, WorkerFailed
from training.worker.protocol import EVENT, OUT_OF_MEMORY, last_words, load_failure

Why = Literal["exited", "timeout", "memory", "disk", "stopped", "lost"]
TOO_LARGE = re.compile(r"File too large|errno = 27\b")  # EFBIG
DISK_FULL = re.compile(r"No space left on device|errno = 28\b|Disk quota exceeded")
REFUSED = re.compile(
    r"PermissionError: \[Errno |Operation not permitted|Permission denied|Read-only file system|urlopen error"
)
NOT_GIVEN = (
    "a worker has no network, writes to its own folder and reads its inputs alone: if the code wanted more, put the files "
    "into a repository; worker.log has the line"
)
MORE_DISK = "raise [runner] disk_mb, or let the code write less"
MORE_MEMORY = "raise [runner] memory_mb, or lower [training] batch_size"


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a worker ended, as its supervisor reports it."""

    why: Why
    status: int | None = None
    """As from `os.waitpid`."""
    left: tuple[str, ...] = ()
    """Processes that could not be killed."""
    error: PipelineError | None = None
    """What a runner knows of an end that the supervisor did not report."""

    @property
    def code(self) -> int | None:
        """The exit code; minus the number of the signal that killed it; None when that is not known."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    @property
    def succeeded(self) -> bool:
        """It ended by itself, with code 0, and left no process behind."""
        return self.why == "exited" and self.code == 0 and not self.left

    @property
    def description(self) -> str:
        """The end of a sentence, for messages and the log."""
        if self.why != "exited" or self.code is None:
            described = {"timeout": "was out of time", "memory": "was out of memory", "disk": "wrote too much"}
            return described.get(self.why, "was stopped")
        if self.code < 0:
            return f"was killed by {_signal_name(-self.code)}"
        return f"ended with exit code {self.code}"

    @property
    def hint(self) -> str:
        """The most frequent reason for some ways to end; else empty."""
        if self.code == -signal.SIGKILL:
            return "most often the machine ran out of memory: see `dmesg`, and " + MORE_MEMORY
        return ""


def explain(job: Job, record: ExitRecord, log: WorkerLog) -> PipelineError:
    """Why there is no result, or no server: what the supervisor reports, the worker's own `error.json`, its last lines."""
    return record.error or _was_ended(job, record, log) or _ended_itself(job, record, log)


def _was_ended(job: Job, record: ExitRecord, log: WorkerLog) -> PipelineError | None:
    limits, name, hint = job.limits, f"worker {job.name}", f"see {log.path}"
    if record.left:
        left = " ".join(record.left)
        return WorkerFailed(f"{name}: processes {left} could not be killed", hint=f"check them: ps -fp {left}")
    if record.why == "timeout":
        hint = f"raise [runner] timeout_minutes (for tests [acceptance] timeout_seconds), or {hint}"
        return WorkerFailed(f"{name} ran longer than {_span(limits.seconds)} and was killed", hint=hint)
    if record.why == "memory":
        return WorkerFailed(f"{name} ran out of memory, all processes together: {_memory(job)}", hint=MORE_MEMORY)
    if record.why == "disk" or record.code == -signal.SIGXFSZ:
        return WorkerFailed(f"{name} wrote more than {limits.disk_mb} MiB and was killed", hint=MORE_DISK)
    if record.why == "stopped":
        return TryAgain(
            f"{name} was stopped from outside", hint="a person ended it, or the machine shuts down: run it again"
        )
    if record.why == "lost":
        return WorkerFailed(f"{name} was killed together with its supervisor", hint=f"out of memory? {hint}")
    return None


def _ended_itself(job: Job, record: ExitRecord, log: WorkerLog) -> PipelineError:
    name, memory, most = f"worker {job.name}", _memory(job), job.limits.disk_mb
    if failure := load_failure(log.path.parent):
        if isinstance(failure, WorkerFailed) and OUT_OF_MEMORY.search(str(failure)):
            return WorkerFailed(f"{failure}: {memory}", hint=failure.hint or MORE_MEMORY)
        if isinstance(failure, WorkerFailed) and DISK_FULL.search(str(failure)):
            return TryAgain(f"{failure}: the disk of {log.path.parent} is full", hint=FREE_SPACE)
        return failure
    said = _last_lines(log)
    if record.code:
        if words := _line(OUT_OF_MEMORY, said):
            return WorkerFailed(f"{name} ran out of memory: {memory}; it said: {words:.200}", hint=MORE_MEMORY)
        if most and (words := _line(TOO_LARGE, said)):
            return WorkerFailed(f"{name} wrote more than {most} MiB to one file: {words:.200}", hint=MORE_DISK)
        if words := _line(DISK_FULL, said):
            return TryAgain(f"{name}: the disk of {log.path.parent} is full: {words:.200}", hint=FREE_SPACE)
    how = "ended by itself, without a result" if record.succeeded else record.description
    words = f": {said[-1]:.200}" if said else ", without any output"
    hint = record.hint or (NOT_GIVEN if record.code and _line(REFUSED, said) else f"see {log.path}")
    return WorkerFailed(f"{name} {how}{words}", hint=hint)


def _line(pattern: re.Pattern[str], said: list[str]) -> str:
    return next(filter(pattern.search, reversed(said)), "")


def _memory(job: Job) -> str:
    return f"the limit is {job.limits.memory_mb} MiB" if job.limits.memory_mb else "there is no limit but the machine"


def _last_lines(log: WorkerLog) -> list[str]:
    """The worker's last lines, without its progress."""
    said = [line.strip() for line in log.last if line.strip() and not line.startswith((LOG_PREFIX, EVENT))]
    return last_words(said)


def _span(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"
