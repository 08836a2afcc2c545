"""A worker and its guard, seen from the controller: started, followed, ended."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from pipelines.runners import Job
from pipelines.runners.ending import Ending, Why, explain
from pipelines.runners.output import OURS, Output
from registry.errors import PipelineError, TryAgain
from registry.nouns import utc_now

GUARD = str(Path(__file__).with_name("guard.py"))
CHUNK = 64 << 10  # bytes, what a pipe holds
PIPE_READS = 4  # empty a pipe, and do not follow one that somebody else keeps filling
GUARD_SECONDS = 20.0  # beyond the grace, after which a guard is given up; it needs 10 at most


class Guarded:
    """A worker and its guard, seen from the controller. At the end of the block none of its processes is left."""

    def __init__(self, job: Job, folder: Path, environment: Mapping[str, str], grace: float, output: Output) -> None:
        self.job, self.folder, self.output = job, folder, output
        self._patience = grace + GUARD_SECONDS
        self._ending: Ending | None = None
        self._told = b""
        self._released = False
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        control, mine = os.pipe()
        self._control = io.FileIO(mine, "wb")  # closed with this object, whatever happens to it: the guard sees that
        told, report = os.pipe()
        self._report = io.FileIO(told, "rb")
        seconds = job.limits.seconds if math.isfinite(job.limits.seconds) else 0
        guard = [sys.executable, "-I", "-S", GUARD, control, report, seconds, job.limits.memory_mb << 20, grace]
        try:
            self._process = subprocess.Popen(
                [*map(str, guard), sys.executable, "-P", "-m", *job.module],
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.output.quiet = True  # `on_line` or the disk may be what has failed
        self._released = True
        self._control.close()  # the guard ends the worker
        if self._thread:
            self.wait(self._patience)
            if not self._ending:
                self._process.kill()
                self._thread.join()
        elif not self._ending:
            self.follow(self._patience)
        self._close()

    def follow(self, seconds: float = math.inf) -> None:
        """Pass the output on until the guard has ended; after `seconds` it is given up, and killed."""
        assert self._process.stdout
        output, report = self._process.stdout.fileno(), self._report.fileno()
        poll = select.poll()
        for fd in (output, report):
            poll.register(fd, select.POLLIN)
        until = time.monotonic() + seconds
        while ready := {fd for fd, _ in poll.poll(_milliseconds(until - time.monotonic()))}:
            if output in ready and not self._pass_on(output):
                poll.unregister(output)
            if report in ready:
                data = os.read(report, CHUNK)
                self._told += data
                if not data:
                    break  # the guard has ended, and before it all that it guarded
        poll.unregister(report)
        ending = _parse(self._told)
        if ending.why == "lost":
            self._kill_without_guard()
        try:
            for _ in range(PIPE_READS):  # what was still in the pipe
                if not poll.poll(0) or not self._pass_on(output):
                    break
            self.output.end()
        finally:
            self._ending = ending  # last: who sees it finds the last words in the log

    def _pass_on(self, fd: int) -> bool:
        data = os.read(fd, CHUNK)
        self.output.feed(data)
        return bool(data)

    def follow_aside(self) -> None:
        """`follow` in a thread; what `on_line` raises is kept for `check`."""

        def follow() -> None:
            try:
                self.follow()
            except BaseException as error:  # noqa: BLE001  (raised again by `check`)
                self._fault = error
                self.output.quiet = True
                self._control.close()
                self.follow(self._patience)

        self._thread = threading.Thread(target=follow, name=f"output of {self.job.name}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the thread that follows aside."""
        assert self._thread
        self._thread.join(seconds)

    def check(self) -> None:
        """Raise why a server does not run any more, unless it was ended on purpose."""
        if self._fault:
            raise self._fault
        if self._ending and not self._released:
            raise explain(self.job, self._ending, self.output.log)

    def failure(self) -> PipelineError | None:
        """Why the worker, which has ended, has no result; None when it has one."""
        assert self._ending
        result = (self.folder / "result.json").is_file()
        return None if self._ending.well and result else explain(self.job, self._ending, self.output.log)

    def _kill_without_guard(self) -> None:
        """The guard was killed or hangs. The kernel then kills the worker (PR_SET_PDEATHSIG), we kill its group."""
        self._process.kill()
        if worker := re.search(rb"^worker (\d+)$", self._told, re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(worker[1]), signal.SIGKILL)

    def _close(self) -> None:
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._report.close()
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)
        how = self._ending.words if self._ending else "ended"
        with contextlib.suppress(TryAgain):
            self.output.log.write([f"{OURS} {utc_now()} {self.job.name} {how}"])
            self.output.log.close()


def _parse(told: bytes) -> Ending:
    """The guard's last line; see `guard.main`."""
    for line in told.decode().splitlines():
        if line.startswith("ended "):
            _, why, status, peak, *left = line.split()
            return Ending(cast("Why", why), None if status == "-" else int(status), int(peak) >> 10, tuple(left))
    return Ending("lost")


def _milliseconds(seconds: float) -> int | None:
    return None if seconds == math.inf else max(0, math.ceil(seconds * 1000))
