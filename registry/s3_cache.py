"""Local copies of what lies in an object store: each whole, verified and kept once, with a bound.

    objects/ab/<sha256>      the bytes
    names/<registry>/…       hard links to them, which lie as the names do
    records/<registry>/ab/…  records as a listing says that they are: see `Cache.record`
    in-use/                  a file for each open store, locked and with the SHA-256 of what it has given out
    locks/, unfinished/      who brings which bytes at the moment, and those bytes

What an open store has given out is not removed for a day. The kernel releases the locks of a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.errors import Corrupt, from_os_error
from registry.files import new_file, sha256_bytes, sha256_file, sweep, write_unflushed

FOLDER = 0o755
HELD = 24 * 3600
"""Seconds for which an open store may rely on a path: an API that runs for months does not hold what it served last year."""


class Cache:
    """See the module; threads may share it, and so may forked processes."""

    def __init__(self, folder: str, limit: int, registry: str) -> None:
        """`folder`: empty: a temporary one. `limit`: bytes. `registry`: a name that no other registry has."""
        self._root = Path(folder) if folder else _temporary(self)
        self._limit, self._registry = limit, registry
        self._objects, self._unfinished = self._root / "objects", self._root / "unfinished"
        self._names, self._records = self._root / "names" / registry, self._root / "records" / registry
        self._changing = threading.Lock()
        self._in_use: int | None = None
        self._used: set[str] = set()
        self._verified: set[str] = set()

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def path(self, name: str, sha256: str, fetch: Callable[[Path], None]) -> Path:
        """The file under `name` with these bytes; `fetch` writes them into a file, when they are not there yet.

        Raises Corrupt when it brings others.
        """
        with self._typed_errors():
            self._use(sha256)
            path = self._objects / sha256[:2] / sha256
            brought = False
            with self._locked(sha256[:2]):
                if not self._is_whole(path, sha256):
                    self._bring(name, path, sha256, fetch)
                    brought = True
                self._link(path, self._names / name)
        if brought:
            self.trim()
        return self._names / name

    def record(self, name: str, etag: str, size: int) -> bytes | None:
        """The bytes of a record that was kept when a listing said the same of it; None when it was not."""
        with contextlib.suppress(OSError):
            digest, _, data = self._record(name, etag, size).read_bytes().partition(b"\n")
            if sha256_bytes(data).encode() == digest and len(data) == size:
                return data
        return None

    def keep_record(self, name: str, etag: str, data: bytes) -> None:
        """Keep it, if there is room: it only saves time."""
        with contextlib.suppress(OSError):
            write_unflushed(self._record(name, etag, len(data)), f"{sha256_bytes(data)}\n".encode() + data)

    def trim(self) -> None:
        """Remove what was not used for longest, until no more than the limit is there; nothing that is in use."""
        with self._typed_errors(), self._lock_file("trim", fcntl.LOCK_EX):
            used = self._in_use_anywhere()
            kept = sorted(self._kept(), key=lambda each: each[1].st_mtime_ns)
            total = sum(status.st_size for _, status in kept)
            gone, now = [], time.time()
            for path, status in kept:
                if total <= self._limit:
                    break
                if path.name not in used or status.st_mtime < now - HELD:
                    total -= status.st_size
                    gone.append((path, status.st_ino))
            if gone:
                links = self._links()
                for path, inode in gone:
                    for each in (*links.get(inode, ()), path):
                        each.unlink(missing_ok=True)

    def _use(self, sha256: str) -> None:
        """Have this open store keep it, before it is looked for."""
        with self._changing, self._lock_file("trim", fcntl.LOCK_SH):
            if sha256 in self._used:
                return
            if self._in_use is None:
                self._in_use = self._begin_use()
            os.write(self._in_use, f"{sha256}\n".encode())
            self._used.add(sha256)

    def _begin_use(self) -> int:
        """A file of this store's own; it is closed, and so unlocked, with the store."""
        folder = self._folder(self._root / "in-use")
        fd, _ = new_file(folder)
        weakref.finalize(self, os.close, fd)
        return fd

    def _in_use_anywhere(self) -> set[str]:
        """What open stores have given out; what dead ones have left is removed."""
        used: set[str] = set()
        sweep(self._folder(self._root / "in-use"))
        for path in (self._root / "in-use").iterdir():
            with contextlib.suppress(FileNotFoundError):
                used.update(path.read_text(encoding="ascii").split())
        return used

    def _is_whole(self, path: Path, sha256: str) -> bool:
        """Whether the bytes are there; a disk may have lost some, so they are hashed once in each process."""
        if not path.is_file():
            return False
        if sha256 not in self._verified:
            if sha256_file(path) != sha256:
                path.unlink()
                return False
            self._verified.add(sha256)
        with contextlib.suppress(PermissionError):  # another user's: the order of removal suffers, no more
            os.utime(path)
        return True

    def _bring(self, name: str, path: Path, sha256: str, fetch: Callable[[Path], None]) -> None:
        sweep(self._folder(self._unfinished))
        fd, new = new_file(self._unfinished)
        try:
            fetch(Path(new))
            if (found := sha256_file(Path(new))) != sha256:
                raise Corrupt(
                    f"{name}: checksum mismatch: SHA-256 is {found}, not {sha256}",
                    hint="`trainyard registry verify` lists every problem; restore the object from a backup",
                )
            os.fchmod(fd, 0o444)
            os.fsync(fd)
            self._folder(path.parent)
            os.replace(new, path)
            self._verified.add(sha256)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            os.close(fd)

    def _link(self, path: Path, target: Path) -> None:
        self._folder(target.parent)
        try:
            os.link(path, target)
        except FileExistsError:
            if not path.samefile(target):  # another registry was here before, or the disk has lost some bytes
                with tempfile.TemporaryDirectory(dir=self._unfinished) as folder:
                    os.link(path, f"{folder}/link")
                    os.replace(f"{folder}/link", target)

    def _kept(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder in (self._objects, self._records.parent):
            for above, _, names in os.walk(folder):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        yield Path(above, name), os.stat(f"{above}/{name}")

    def _links(self) -> dict[int, list[Path]]:
        """Inode → the names of a copy."""
        found: dict[int, list[Path]] = {}
        for above, _, names in os.walk(self._names.parent):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found.setdefault(os.stat(f"{above}/{name}").st_ino, []).append(Path(above, name))
        return found

    def _record(self, name: str, etag: str, size: int) -> Path:
        key = sha256_bytes(f"{name}\n{etag}\n{size}".encode())[:40]
        return self._records / key[:2] / key

    @contextlib.contextmanager
    def _locked(self, part: str) -> Iterator[None]:
        with self._lock_file(part, fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _lock_file(self, name: str, how: int) -> Iterator[None]:
        """Hold a lock among all processes and threads; lock files stay, there are few."""
        fd = os.open(self._folder(self._root / "locks") / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    @staticmethod
    def _folder(path: Path) -> Path:
        path.mkdir(FOLDER, parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if typed := from_os_error(error, self._root):
                raise typed from error
            raise


def _temporary(owner: object) -> Path:
    """A folder that is removed with its owner, by the process that has made it."""
    folder = tempfile.mkdtemp(prefix="trainyard-s3-")
    weakref.finalize(owner, _remove, folder, os.getpid())
    return Path(folder)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
