"""Files that are whole or absent, and their SHA-256."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import mmap
import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

CHUNK = 1 << 20  # bytes
TMP = ".tmp-"
"""How the names of files begin that somebody is writing."""


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of the file at `path` as 64 hexadecimal digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_hashed(source: io.FileIO | io.BytesIO, target: io.FileIO) -> str:
    """Write the rest of `source` to `target`; the SHA-256 of what was written, also when the source changes meanwhile.

    More than a chunk goes straight to the disk where the file system can: it is written while we hash, fsync has little
    left to wait for, and models crowd nothing out of the page cache.
    """
    digest = hashlib.sha256()
    buffer = memoryview(mmap.mmap(-1, CHUNK))  # begins at a page, as O_DIRECT wants it
    while size := source.readinto(buffer):
        if size == CHUNK:
            _set_direct(target, on=True)
        digest.update(buffer[:size])
        rest = buffer[:size]
        while rest:
            try:
                rest = rest[target.write(rest) :]
            except OSError as error:
                # The end of a file is seldom a whole block, and not every file system can.
                if error.errno != errno.EINVAL or not _set_direct(target, on=False):
                    raise
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on disk, also after a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Create `path` with all of `data`, or raise FileExistsError; never half a file.

    `mode`: 0o600 for what only we may read (a secret, a mail with an approval token).
    """
    _write(path, data, os.link, mode)


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Create or replace `path` with all of `data`: readers see the old bytes or the new ones.

    For private state (run folders, worker status). The registry never replaces: see `write_new`, also for `mode`.
    """
    _write(path, data, os.replace, mode)


def write_unflushed(path: Path, data: bytes) -> None:
    """As `write_whole`, but after a power cut some of it may be lost: for what is checked when it is read, and only saves time."""
    _write(path, data, os.replace, flush=False)


def try_lock(lock: TextIO | int, patience: float = 0.0) -> bool:
    """Whether this process has the lock of an open file now, or within `patience` seconds. The kernel releases it when the
    holder dies."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        else:
            return True


def is_locked(path: Path) -> bool:
    """Whether a process has the lock of this file. Who looks has a share of it for a moment."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def sweep(folder: Path) -> None:
    """Remove what killed writers have left directly in `folder`. A file that is being written is held by its writer.

    Links, pipes and folders stay: no writer makes them, and a pipe that a worker put there must not hold us up.
    """
    for path in folder.glob(f"{TMP}*"):
        with contextlib.suppress(OSError):  # it has just got its name
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(fd)


def _set_direct(file: io.FileIO, *, on: bool) -> bool:
    """Have what is written to `file` go past the page cache, or not; whether that is a change."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    if bool(flags & os.O_DIRECT) == on:
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags ^ os.O_DIRECT)
    except OSError:  # not on this file system
        return False
    return True


def _write(
    path: Path, data: bytes, publish: Callable[[str, Path], None], mode: int = 0o644, *, flush: bool = True
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, tmp = new_file(path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)  # mkstemp gives 0600; the API may run as another user
            if flush:
                os.fsync(fd)
            publish(tmp, path)  # os.link refuses a taken name, os.replace does not
    except OSError as error:
        error.filename = error.filename or str(path)  # that of a descriptor does not say which file
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):  # os.replace has taken it away
            os.unlink(tmp)
    if flush:
        sync_folder(path.parent)


def new_file(folder: Path) -> tuple[int, str]:
    """A descriptor and the path of a hidden file that `sweep` leaves alone as long as it is open."""
    while True:
        fd, tmp = tempfile.mkstemp(dir=folder, prefix=TMP)
        with contextlib.suppress(OSError):  # a disk without locks: nothing is swept there
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd, tmp
        os.close(fd)  # swept before we held it
