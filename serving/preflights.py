"""Releases are loaded in a throw-away process first, once for all workers of an API: what came of it is kept in a file.

The folder `preflights` of the API holds `<card>.json`, one Result for each version that was tried, by the SHA-256 of its
manifest; and a lock, which whoever tries one holds. gunicorn's master adds what it sees: a version that ends workers
while they serve it has failed, too. The folder is emptied when the API starts: another day, another library, another try.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from registry import codec
from registry.files import write_whole
from serving.free_memory import free_mb
from serving.job import ServeJob
from serving.known_good import Live

PROGRAM = (sys.executable, "-P", "-m", "serving.preflight")
SECONDS = 100.0
"""Until a preflight is ended: less than a promotion waits, which is to hear of it."""
FRESH = 1.0
"""Seconds for which a failure counts that another try might not meet: for the other workers, which ask at the same time."""
REFUSED = 3
"""The exit code of serving.preflight that comes with a reason."""
SAME_AGAIN = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}
"""By these a process ends because of what it executes; the same bytes will do it again."""

Outcome = Literal["loaded", "refused", "crashed", "out of memory", "too slow"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a preflight."""

    outcome: Outcome
    reason: str = ""
    """In words, unless it was loaded."""
    final: bool = False
    """Whether another try would end the same way."""
    memory_mb: int = 0
    """What a process needs for it besides; 0: unknown."""
    at: float = 0.0
    """When it ended, by the clock that all processes of a machine share and nobody sets."""


class Preflights:
    """Those of the API in `folder`, which serves `job`. `program` is started for each preflight; default: `serving.preflight`."""

    def __init__(self, job: ServeJob, folder: Path, program: Sequence[str] = (), seconds: float = SECONDS) -> None:
        self._job, self._folder, self._program, self._seconds = job, folder, list(program or PROGRAM), seconds
        self._results = folder / "preflights"

    def known(self, card: str) -> Result | None:
        """What came of the last preflight of this version."""
        with contextlib.suppress(FileNotFoundError):
            return Result(**json.loads((self._results / f"{card}.json").read_bytes()))
        return None

    def note(self, card: str, result: Result) -> None:
        """Keep a result for all workers."""
        self._results.mkdir(parents=True, exist_ok=True)
        write_whole(self._results / f"{card}.json", json.dumps(asdict(result)).encode())

    def of(self, live: Live, superseded: Callable[[], bool]) -> Result | None:
        """The result of a preflight of `live`: another worker's, or one that is made now. None: it was `superseded` meanwhile."""
        with self._turn(superseded) as mine:
            if not mine:
                return None
            known = self.known(live.card)
            if known and (known.outcome == "loaded" or known.final or time.monotonic() < known.at + FRESH):
                return known
            result = self._try(live, free_mb(), superseded)
            if result and result.outcome == "crashed" and result.final:
                # A library that gets no memory may use it all the same, and crash: then the limit was the reason.
                result = self._try(live, 0, superseded)
            if result:
                result = for_all(result, self._job.workers, free_mb())
                with contextlib.suppress(OSError):  # a full disk: each worker makes its own preflight
                    self.note(live.card, result)
            return result

    @contextlib.contextmanager
    def _turn(self, superseded: Callable[[], bool]) -> Iterator[bool]:
        """Only one process has its turn at a time; False: superseded while it waited."""
        self._results.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._results / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not (mine := _try_lock(fd)) and not superseded():
                time.sleep(0.02)
            yield mine
        finally:
            os.close(fd)

    def _try(self, live: Live, memory_mb: int, superseded: Callable[[], bool]) -> Result | None:
        asked = {
            "job": codec.to_json(self._job).decode(),
            "copies": str(self._folder / "models"),
            "live": asdict(live),
            "memory_mb": memory_mb,
            "has_tensorflow": "tensorflow" in sys.modules,
        }
        deadline = time.monotonic() + self._seconds
        with subprocess.Popen(
            self._program, cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin
            assert process.stdout
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(json.dumps(asked).encode())
            while process.poll() is None:
                late = time.monotonic() > deadline
                if late or superseded():
                    process.kill()
                    process.wait()
                    return (
                        Result("too slow", f"it did not load within {self._seconds:.0f} s", at=_now()) if late else None
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            return result_of(process.returncode, process.stdout.read())


def result_of(code: int, said: bytes) -> Result:
    """How a preflight ended, by the exit code of its process (minus the signal) and what it wrote."""
    if code == 0:
        return Result("loaded", memory_mb=json.loads(said)["memory_mb"] if said else 0, at=_now())
    if code == REFUSED and said:
        answer = json.loads(said)
        return Result("out of memory" if answer["memory"] else "refused", answer["reason"], at=_now())
    if code == -signal.SIGKILL:
        return Result("out of memory", "its preflight was killed (SIGKILL), most often for want of memory", at=_now())
    if code < 0:
        name = signal.Signals(-code).name
        return Result(
            "crashed", f"it crashed the process that loaded it ({name})", final=-code in SAME_AGAIN, at=_now()
        )
    return Result("refused", f"its preflight ended with {code}; the API's log has the reason", at=_now())


def for_all(result: Result, workers: int, free: int) -> Result:
    """The result, if there is memory for it in each of so many server processes, which load it beside the version before.

    `free` in MB; 0: unknown. Better no process takes a release than the kernel ends one of them.
    """
    needed = workers * result.memory_mb
    if result.outcome != "loaded" or not free or needed <= free:
        return result
    reason = (
        f"{workers} server processes need {needed} MB of memory for it beside what they serve, and {free} MB are free"
    )
    return Result("out of memory", f"{reason}: set [serving] workers to fewer, or give it more", at=_now())


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _now() -> float:
    return time.monotonic()
