"""A guard and its worker as child processes of this machine."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.runners import Job
from pipelines.runners.supervisor.exit import Ending
from registry.errors import TryAgain

GUARD = str(Path(__file__).parents[1] / "supervisor" / "supervisor.py")
CHUNK = 64 << 10  # bytes, what a pipe holds
PIPE_READS = 4  # empty a pipe, and do not follow one that somebody else keeps filling
MIB = 1 << 20


class Child:
    """A `Link` of pipes."""

    def __init__(self, job: Job, folder: Path, environment: Mapping[str, str], grace: float) -> None:
        self.told = bytearray()
        control, mine = os.pipe()
        self._control = io.FileIO(mine, "wb")  # closed with this object, whatever happens to it: the guard sees that
        told, report = os.pipe()
        self._report = io.FileIO(told, "rb")
        guard = [sys.executable, "-I", "-S", GUARD, *guard_arguments((control, report), job, grace)]
        try:
            self._process = subprocess.Popen(
                [*guard, sys.executable, "-P", "-m", *job.module],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, bufsize=0, pass_fds=(control, report), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._control.close()
            self._report.close()
            if error.errno in {errno.EAGAIN, errno.ENOMEM}:
                raise TryAgain(f"cannot start a process: {error.strerror}", hint="the machine is full") from None
            raise
        finally:
            os.close(control)
            os.close(report)

    def pieces(self, seconds: float) -> Iterator[bytes]:
        """See `Link`."""
        assert self._process.stdout
        output, report = self._process.stdout.fileno(), self._report.fileno()
        poll = select.poll()
        for fd in (output, report):
            poll.register(fd, select.POLLIN)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and (ready := {fd for fd, _ in poll.poll(_milliseconds(left))}):
            if output in ready:
                data = os.read(output, CHUNK)
                yield data
                if not data:
                    poll.unregister(output)
            if report in ready:
                data = os.read(report, CHUNK)
                self.told += data
                if not data:
                    break  # the guard has ended, and before it all that it guarded
        poll.unregister(report)
        for _ in range(PIPE_READS):  # what was still in the pipe
            if poll.poll(0) and (data := os.read(output, CHUNK)):
                yield data

    def stop(self) -> None:
        """See `Link`."""
        self._control.close()

    def give_up(self) -> None:
        """The guard was killed or hangs. The kernel then kills the worker (PR_SET_PDEATHSIG), we kill its group."""
        self._process.kill()
        if worker := re.search(rb"^worker (\d+)$", self.told, re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(worker[1]), signal.SIGKILL)

    def lost(self, *, late: bool) -> Ending:
        """See `Link`."""
        return Ending("timeout" if late else "lost")

    def close(self) -> None:
        """See `Link`."""
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._report.close()


def guard_arguments(fds: tuple[int, int], job: Job, grace: float) -> list[str]:
    """CONTROL REPORT SECONDS MEMORY DISK GRACE; see `supervisor.py`."""
    limits = job.limits
    seconds = limits.seconds if math.isfinite(limits.seconds) else 0
    return [*map(str, (*fds, seconds, limits.memory_mb * MIB, limits.disk_mb * MIB, grace))]


def _milliseconds(seconds: float) -> int | None:
    return None if seconds == math.inf else max(0, math.ceil(seconds * 1000))
