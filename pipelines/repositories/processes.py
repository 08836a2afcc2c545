"""Programs that fetch, in threads side by side: when one of them fails, or we are asked to stop, all of them end."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

from registry.errors import TryAgain
from training.fence import ahead

TIMEOUT = 600.0  # seconds for one git command that talks to a remote
_running: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()
_this = threading.local()
HEAD_START = 0.05  # seconds at most
K = TypeVar("K")
T = TypeVar("T")


class TimedOut(TryAgain):
    """git was still running after its time."""


def in_parallel(work: Callable[[K], T], items: Sequence[K]) -> list[T]:
    """`work` for each item in a thread of its own; when one fails, or we are asked to stop, every git command is stopped.

    Each thread has the interpreter for itself until it waits for a program: what takes longest, and comes first, begins first.
    Raises what the first one to fail has raised, once all threads have ended.
    """
    ended: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()

    def one(number: int, waits: threading.Event) -> None:
        _this.waits = waits
        try:
            ended.put((number, work(items[number]), None))
        except BaseException as error:  # noqa: BLE001  (it is raised in the thread that waits)
            ended.put((number, None, error))
        finally:
            waits.set()

    threads: list[threading.Thread] = []
    results: dict[int, T] = {}
    try:
        for number in range(len(items)):
            waits = threading.Event()
            threads.append(threading.Thread(target=one, args=(number, waits)))
            threads[-1].start()
            waits.wait(HEAD_START)
        while len(results) < len(items):
            # with a timeout: Python handles a signal that reached another thread only when this one wakes up
            with suppress(Empty):
                number, result, error = ended.get(timeout=0.2)
                if error:
                    raise error
                results[number] = result
    except BaseException as error:
        stop_all()
        for each in threads:
            if each.ident:
                each.join()
        if isinstance(error, Exception):
            _stopping.clear()  # else the process ends; a thread may still be about to start a command
        raise
    return [results[number] for number in range(len(items))]


def raise_if_stopping(seconds: float = 0.0) -> None:
    """In a thread of `in_parallel`: raises TryAgain if the others are being stopped, or are within `seconds`."""
    if _stopping.wait(seconds):
        raise TryAgain("git was stopped")


def stop_all() -> None:
    """Stop each running git command, with its helpers (ssh, git-remote-https), and each that would follow."""
    _stopping.set()
    for process in tuple(_running):
        _signal(process, signal.SIGTERM)


@functools.cache
def dies_with_us() -> tuple[str, ...]:
    """The words before a command that may take long, or for ever: they have the kernel end it when we are killed."""
    program = shutil.which("setpriv")  # of util-linux; BusyBox's lacks --pdeathsig
    if program and not os.path.realpath(program).endswith("busybox"):
        return (program, "--pdeathsig", "TERM", "--")
    return ()


class Program:
    """A program that was started, and ends when we are asked to stop; at the end of `with` in any case."""

    def __init__(
        self, words: Sequence[str], *, env: dict[str, str], cwd: Path | None = None, reads: bool = False
    ) -> None:
        """`reads`: it is given something on its stdin. Raises TryAgain when we are being stopped."""
        self.cwd = cwd
        waiting = ahead.take(words, str(cwd or Path.cwd()), env) if reads else None
        self._process = waiting or subprocess.Popen(
            words, env=env, cwd=cwd, start_new_session=True,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        _running.add(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process.poll() is None:
                _end(self._process)
        finally:
            _running.discard(self._process)
            with self._process:  # closes what it has of pipes
                pass

    def finish(self, given: bytes = b"", timeout: float = TIMEOUT) -> tuple[int, bytes, bytes]:
        """Have it read `given`; its exit code, stdout and stderr once it has ended.

        Raises TimedOut after `timeout` seconds, TryAgain when we are being stopped.
        """
        raise_if_stopping()
        if waits := getattr(_this, "waits", None):
            waits.set()
        try:
            out, err = self._process.communicate(given or None, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise TimedOut(
                f"git is still running after {timeout:.0f} s in {self.cwd or Path.cwd()}", hint="is its disk slow?"
            ) from None
        return self._process.returncode, out, err


def run_program(
    words: Sequence[str], *, env: dict[str, str], timeout: float = TIMEOUT, cwd: Path | None = None, given: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Run a program that ends when we are asked to stop; gives its exit code, stdout and stderr.

    Raises TimedOut after `timeout` seconds, TryAgain when we are being stopped.
    """
    with Program(words, env=env, cwd=cwd, reads=bool(given)) as program:
        return program.finish(given, timeout)


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)  # upon which git removes its lock files
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
