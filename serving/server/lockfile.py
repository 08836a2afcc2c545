"""Whether an API runs in a folder, and where. Light: the controller imports it.

The server holds a lock on `api.lock` as long as it runs, which the kernel releases however it ends; so nothing has to
be cleaned up, and a process number that another process has by now is never taken for the server's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry import codec
from registry.errors import ConfigError
from registry.records import utc_now

ADDRESS_FILE = "api.json"
"""The RunningApi, written by the server."""


@dataclass(frozen=True, slots=True)
class RunningApi:
    """Where an API can be reached, and which process it is."""

    pid: int
    """gunicorn's master."""
    started: str
    """When that process started, in the kernel's clock ticks; empty where there is no /proc."""
    url: str
    """`unix:///…` in a container that gets its connections from serving.server.listener."""
    model: str
    since: str
    reads_kinds: bool = False
    """Whether it reads releases that have a kind; one that an earlier version of Trainyard started does not."""
    workers: int = 0
    """Server processes that there shall be; 0: an earlier version of Trainyard started it, and does not say."""
    admin: str = ""
    """The URL of the operator's port; empty in a container that gets it from serving.server.listener."""


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """No other process or thread starts or stops the API in the folder meanwhile; waits for those that do."""
    fd = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # unlike POSIX locks, between threads, too
        yield
    finally:
        os.close(fd)


def acquire(folder: Path) -> int:
    """Lock the folder for this process until it ends or closes the returned file descriptor; raises ConfigError."""
    fd = os.open(folder / "api.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in range(10):  # `is_held` locks it for a moment, too
        if _try(fd, fcntl.LOCK_EX):
            return fd
        time.sleep(0.05)
    os.close(fd)
    raise ConfigError(f"{folder}: an API is already running here", hint="`trainyard serve MODEL --stop` stops it")


def is_held(folder: Path) -> bool:
    """Whether a server runs in the folder."""
    try:
        fd = os.open(folder / "api.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def write(folder: Path, url: str, admin: str, model: str, workers: int) -> None:
    """Publish that this process, which has the lock, listens at `url`, and for operators at `admin`."""
    pid = os.getpid()
    found = RunningApi(pid, _start_time(pid), url, model, utc_now(), reads_kinds=True, workers=workers, admin=admin)
    codec.save(found, folder / ADDRESS_FILE)


def read(folder: Path) -> RunningApi | None:
    """The API that runs in the folder; None when none does, or it is still starting."""
    if not is_held(folder):
        return None
    try:
        found = codec.read(RunningApi, folder / ADDRESS_FILE)
    except FileNotFoundError:
        return None
    return found if found.started == _start_time(found.pid) else None  # else the file is of a server that was killed


def facts(folder: Path) -> dict[str, str | int]:
    """What an operator may want to know of the API in `folder`, asked by one of its own processes."""
    found = codec.read(RunningApi, folder / ADDRESS_FILE)
    return {"url": found.url, "admin": found.admin, "since": found.since, "pid": found.pid}


def url(host: str, port: int, *, tls: bool = False) -> str:
    """The URL for clients on this machine."""
    scheme = "https" if tls else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not listened on)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _try(fd: int, kind: int) -> bool:
    """POSIX locks belong to one process: forked workers do not hold them."""
    try:
        fcntl.lockf(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            return False
        raise
    return True
