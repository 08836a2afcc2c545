"""A supervisor and its worker as child processes of this machine."""

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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.runners import Job
from pipelines.runners.supervisor import command
from pipelines.runners.supervisor.exit import ExitRecord
from registry.errors import TryAgain

CHUNK = 64 << 10  # bytes, what a pipe holds
PIPE_READS = 4  # enough to empty a pipe; one that a process keeps filling is not followed for ever


class PipeLink:
    """A `Link` of pipes."""

    def __init__(
        self, job: Job, folder: Path, environment: Mapping[str, str], grace: float, fence: Sequence[str] = ()
    ) -> None:
        """`fence` are words before the worker's command."""
        self.report = bytearray()
        control, control_end = os.pipe()
        self._control = io.FileIO(
            control_end, "wb"
        )  # closed with this object, whatever happens: the supervisor sees that
        report_end, report = os.pipe()
        self._report_pipe = io.FileIO(report_end, "rb")
        supervisor = [
            sys.executable,
            "-I",
            "-S",
            str(command.SOURCE),
            *command.arguments((control, report), job, grace),
        ]
        try:
            self._process = subprocess.Popen(
                [*supervisor, *fence, sys.executable, "-P", "-m", *job.module],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, bufsize=0, pass_fds=(control, report), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._control.close()
            self._report_pipe.close()
            if error.errno in {errno.EAGAIN, errno.ENOMEM}:
                raise TryAgain(
                    f"cannot start a process: {error.strerror}",
                    hint="process or memory limit reached: check `ulimit -u` and `free -m`",
                ) from None
            raise
        finally:
            os.close(control)
            os.close(report)

    def pieces(self, seconds: float) -> Iterator[bytes]:
        """See `Link`."""
        assert self._process.stdout
        output, report = self._process.stdout.fileno(), self._report_pipe.fileno()
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
                self.report += data
                if not data:
                    break  # the supervisor has ended, and before it the worker with all its children
        poll.unregister(report)
        for _ in range(PIPE_READS):  # what was still in the pipe
            if poll.poll(0) and (data := os.read(output, CHUNK)):
                yield data

    def stop(self) -> None:
        """See `Link`."""
        self._control.close()

    def give_up(self) -> None:
        """The supervisor was killed or hangs. The kernel then kills the worker (PR_SET_PDEATHSIG); here its group is killed."""
        self._process.kill()
        if worker := re.search(rb"^worker (\d+)$", self.report, re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(worker[1]), signal.SIGKILL)

    def lost(self, *, late: bool) -> ExitRecord:
        """See `Link`."""
        return ExitRecord("timeout" if late else "lost")

    def close(self) -> None:
        """See `Link`."""
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._report_pipe.close()


def _milliseconds(seconds: float) -> int | None:
    return None if seconds == math.inf else max(0, math.ceil(seconds * 1000))
