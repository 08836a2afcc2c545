"""Programs that fetch, in threads side by side: when one of them fails, or we are asked to stop, all of them end."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from registry.errors import TryAgain

TIMEOUT = 600.0  # seconds for one git command that talks to a remote
_running: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()
K = TypeVar("K")
T = TypeVar("T")


class TimedOut(TryAgain):
    """git was still running after its time."""


def in_parallel(work: Callable[[K], T], items: Sequence[K]) -> list[T]:
    """`work` for each item in a thread of its own; when one fails, or we are asked to stop, every git command is stopped."""
    with ThreadPoolExecutor(len(items)) as pool:
        try:
            futures = [pool.submit(work, item) for item in items]
            waiting = set(futures)
            while (
                waiting
            ):  # with a timeout: Python handles a signal that reached another thread only when this one wakes up
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            return [future.result() for future in futures]
        except Exception:
            stop_all()
            pool.shutdown()
            _stopping.clear()
            raise
        except BaseException:  # the process ends; a thread may still be about to start a command
            stop_all()
            raise


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


def run_program(
    words: Sequence[str], *, env: dict[str, str], timeout: float = TIMEOUT, cwd: Path | None = None, given: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Run a program that ends when we are asked to stop; gives its exit code, stdout and stderr.

    Raises TimedOut after `timeout` seconds, TryAgain when we are being stopped.
    """
    with subprocess.Popen(
        words, env=env, cwd=cwd, start_new_session=True,
        stdin=subprocess.PIPE if given else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            _running.add(process)
            raise_if_stopping()
            out, err = process.communicate(given or None, timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise TimedOut(
                f"git is still running after {timeout:.0f} s in {cwd or Path.cwd()}", hint="is its disk slow?"
            ) from None
        except BaseException:
            _end(process)
            raise
        finally:
            _running.discard(process)
    return process.returncode, out, err


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)  # upon which git removes its lock files
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
