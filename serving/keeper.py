"""`python -P -m serving.keeper`: an API that keeps predictions or labels, in a folder with `job.json` (ServeJob).

A fence is about the folders that are there when it is put up. This process is outside of it: it starts the API as its child, and
starts it again when one of the folders that it writes was replaced. It holds the listening sockets, so that clients wait meanwhile
and are not refused. What ends the API otherwise ends this process, too. `serving.follower` does the same for an API
whose registry is in a bucket.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from registry.errors import PipelineError
from serving.__main__ import report
from serving.access.exposure import refuse_exposed
from serving.job import ServeJob
from serving.kept_folders import HeldFolders, in_words
from serving.server import lockfile, ports
from serving.server.control import START_SECONDS, child_environment, fenced_command, is_ready
from serving.server.program import STARTED_AGAIN, read_job

FORWARDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU),
)
"""What gunicorn understands, and a terminal sends."""
ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
LOOK_SECONDS = 0.5
KILL_AFTER = 10.0
"""Seconds beyond what the job gives to requests in flight."""


class Child:
    """The API: started fenced, in a session of its own, as what a terminal sends comes from its parent, and only once."""

    def __init__(self, job: ServeJob, folder: Path, sockets: tuple[socket.socket, ...], why: str) -> None:
        fds = [each.fileno() for each in sockets]
        command = fenced_command(job, folder)  # which makes the folders that are missing
        self.folders = HeldFolders(job)
        self._process = subprocess.Popen(
            command,
            env=child_environment(job) | {ports.GIVEN: " ".join(map(str, fds)), STARTED_AGAIN: why},
            pass_fds=fds,
            start_new_session=True,
        )
        self.ended = threading.Event()
        threading.Thread(target=self._wait, name="api", daemon=True).start()

    @property
    def code(self) -> int:
        """The exit code, as a shell has it, of one that has ended."""
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Hand a signal on."""
        self._process.send_signal(number)

    def stop(self, seconds: float) -> None:
        """End it in order, or, when that takes longer, at once; whatever it was, it has ended afterwards."""
        self.signal(signal.SIGTERM)
        if not self.ended.wait(seconds):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self.ended.wait()
        self.folders.close()

    def _wait(self) -> None:
        self._process.wait()
        self.ended.set()


class Keeper:
    """One API, with its ports."""

    def __init__(self, job: ServeJob, folder: Path) -> None:
        """Raises ConfigError for a port that cannot be had."""
        refuse_exposed(job)
        self._job, self._folder = job, folder
        self._sockets = ports.listen_for_all(job)
        self._child: Child | None = None
        self._ends_by = 0
        self._said = ""

    def run(self) -> int:
        """Start it; its exit code, when it has ended by itself or by a signal."""
        for each in FORWARDED:
            signal.signal(each, self._hand_on)
        child = self._begin("")
        while not child.ended.wait(LOOK_SECONDS):
            if names := child.folders.replaced():
                try:
                    child = self._begin_again(child, in_words(names))
                except (PipelineError, OSError) as error:  # the API answers as before
                    self._say(f"the API cannot be started again: {error}\n")
        return child.code

    def _begin(self, why: str) -> Child:
        self._child = child = Child(self._job, self._folder, self._sockets, why)
        if self._ends_by:  # while there was none
            child.signal(self._ends_by)
        return child

    def _begin_again(self, child: Child, why: str) -> Child:
        with lockfile.exclusive(self._folder):  # who stops the API meanwhile stops the new one
            if not child.ended.is_set():
                child.stop(self._job.timeout_seconds + KILL_AFTER)
                if not self._ends_by:
                    child = self._begin(why)
                    _wait(lambda: child.ended.is_set() or is_ready(self._folder), START_SECONDS)
            return child

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number in ENDING:
            self._ends_by = number
        if self._child:
            self._child.signal(number)

    def _say(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            sys.stderr.write(problem)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)


def main() -> int:
    """Serve until the API ends; 2 when a person must change something first."""
    try:
        keeper = Keeper(read_job(Path.cwd(), os.environ), Path.cwd())
    except PipelineError as error:
        return report(Path.cwd(), error)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main())
