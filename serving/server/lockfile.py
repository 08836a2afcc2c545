"""Whether an API runs in a folder, and where. Light: the controller imports it.

The server holds a lock on `api.lock` as long as it runs, which the kernel releases however it ends; so nothing has to
be cleaned up, and a process number that another process has by now is never taken for the server's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import ConfigError
from registry.formats import formats
from registry.records import utc_now

ADDRESS_FILE = "api.json"
"""The RunningApi, written by the server."""
FLOCK = struct.Struct("@hhqqi0q")  # struct flock of fcntl(2)


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
    formats: str = ""
    """The `registry.formats` that it reads; empty: an earlier version of Trainyard started it, and does not say."""
    workers: int = 0
    """Server processes that there shall be; 0: an earlier version of Trainyard started it, and does not say."""
    admin: str = ""
    """The URL of the operator's port; empty in a container that gets it from serving.server.listener."""
    grpc: str = ""
    """`host:port` of gRPC; empty as `admin`, and where nobody asked for it."""

    @staticmethod
    def upgrade(raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without what another version of Trainyard says of its API; see `registry.codec`."""
        return {name: raw[name] for name in raw if name in RunningApi.__slots__}


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """No other process or thread starts or stops the API in the folder meanwhile; waits for those that do."""
    fd = open_own(folder / "start.lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # unlike POSIX locks, between threads, too
        yield
    finally:
        os.close(fd)


def open_own(path: Path, flags: int) -> int:
    """Open a file of the API's folder, made when it is not there, as somebody who may write more than the API does: a link
    that a model has put there is not followed. Raises ConfigError for one."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError(f"{path}: a symbolic link, which Trainyard does not make there", hint=f"rm {path}") from None


def acquire(folder: Path) -> int:
    """Lock the folder for this process until it ends or closes the returned file descriptor; raises ConfigError."""
    fd = os.open(folder / "api.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if _try(fd):
        return fd
    os.close(fd)
    raise ConfigError(f"{folder}: an API is already running here", hint="`trainyard serve MODEL --stop` stops it")


def is_held(folder: Path) -> bool:
    """Whether a server runs in the folder."""
    return holder(folder) is not None


def holder(folder: Path) -> int | None:
    """The process that runs the server in the folder; None: none does; 0: one that cannot be seen from this container.

    By the kernel: `api.json` could name any, where a model has taken the API over, and it gets signals from us.
    """
    try:
        fd = os.open(folder / "api.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = fcntl.fcntl(fd, fcntl.F_GETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(fd)
    kind, _, _, _, pid = FLOCK.unpack(found)
    return None if kind == fcntl.F_UNLCK else int(pid)


def write(folder: Path, where: tuple[str, str, str], model: str, workers: int) -> None:
    """Publish that this process, which has the lock, listens at the URL in `where`, for operators at the second, and for gRPC
    at the third."""
    pid, (url, admin, grpc) = os.getpid(), where
    found = RunningApi(pid, _start_time(pid), url, model, utc_now(), formats(), workers, admin, grpc)
    codec.save(found, folder / ADDRESS_FILE)


def read(folder: Path) -> RunningApi | None:
    """The API that runs in the folder; None when none does, or it is still starting."""
    pid = holder(folder)
    if pid is None:
        return None
    try:
        found = codec.read(RunningApi, folder / ADDRESS_FILE)
    except FileNotFoundError:
        return None
    # else the file is of a server that was killed
    return found if found.pid == pid and found.started == _start_time(pid) else None


def facts(folder: Path) -> dict[str, str | int]:
    """What an operator may want to know of the API in `folder`, asked by one of its own processes."""
    found = codec.read(RunningApi, folder / ADDRESS_FILE)
    return {"url": found.url, "admin": found.admin, "since": found.since, "pid": found.pid}


def url(host: str, port: int, *, tls: bool = False) -> str:
    """The URL for clients on this machine."""
    return f"{'https' if tls else 'http'}://{host_and_port(host, port)}"


def host_and_port(host: str, port: int) -> str:
    """What clients on this machine connect to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not listened on)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _try(fd: int) -> bool:
    """POSIX locks belong to one process: forked workers do not hold them."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            return False
        raise
    return True
