"""How files of the registry's folder are opened: never through a symbolic link, never waiting, never without a bound."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.errors import Corrupt
from registry.files import CHUNK

RECORD = 1 << 13  # bytes; most records are smaller
LARGEST = 1 << 26  # bytes of a record; the manifest of 10,000 files has some MB
MANY = 32  # folders
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
REFUSED = {errno.ELOOP, errno.ENXIO}  # how opening a symbolic link or a socket fails
HINT = "move it away, and restore what belongs there from a backup; `trainyard registry verify` lists every problem"


def read_record(root: Path, name: str) -> bytes:
    """The bytes of the file `name` below `root`; raises OSError, or Corrupt when it is not a file or has no end."""
    follow_no_link(root, name)
    return _read(f"{root}/{name}", name)


def read_records(root: Path, names: Iterable[str]) -> Iterator[bytes]:
    """As `read_record`, of many: each folder on the way is looked at once."""
    folders, top = _Folders(root), f"{root}/"
    for name in names:
        if not folders.has(name.rpartition("/")[0]):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        yield _read(top + name, name)


def _read(path: str, name: str) -> bytes:
    try:
        fd = os.open(path, READ)
    except OSError as error:
        if error.errno in REFUSED:
            must_be_file(name, os.lstat(path).st_mode)
        raise
    try:
        status = os.fstat(fd)
        must_be_file(name, status.st_mode)
        data = b"" if status.st_size > LARGEST else _read_all(fd)
    finally:
        os.close(fd)
    if max(status.st_size, len(data)) > LARGEST:
        raise Corrupt(f"{name}: has more than {LARGEST >> 20} MiB, which no record has", hint=HINT)
    return data


def follow_no_link(root: Path, name: str) -> None:
    """Raise Corrupt when a folder on the way from `root` to `name` is a symbolic link; OSError when it is not there."""
    end = 0
    while (end := name.find("/", end + 1)) > 0:
        if stat.S_ISLNK(os.lstat(f"{root}/{name[:end]}").st_mode):
            raise Corrupt(f"{name[:end]}: is a symbolic link", hint=HINT)


def present(root: Path, names: Iterable[str]) -> set[str]:
    """Which of these files are there; each folder on the way is looked at once. Raises Corrupt as `read_record` does."""
    folders, top, found, lstat, is_file = _Folders(root), f"{root}/", set(), os.lstat, stat.S_ISREG
    for name in names:
        if folders.has(name.rpartition("/")[0]):
            try:
                mode = lstat(top + name).st_mode
            except FileNotFoundError:
                continue
            if is_file(mode):
                found.add(name)
            elif not stat.S_ISDIR(mode):
                must_be_file(name, mode)
    return found


class _Folders:
    """What is known of folders below the root. Each is looked at once; where many in one are asked for, that is listed."""

    def __init__(self, root: Path) -> None:
        self._top = f"{root}/"
        self._known = {"": True}
        self._asked: Counter[str] = Counter()

    def has(self, name: str) -> bool:
        """Whether there is this folder; raises Corrupt when it, or one on the way, is a symbolic link."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._look(name)
        return known

    def _look(self, name: str) -> bool:
        above = name.rpartition("/")[0]
        if not self.has(above):
            return False
        self._asked[above] += 1
        if above and self._asked[above] == MANY:
            with contextlib.suppress(FileNotFoundError), os.scandir(self._top + above) as entries:
                self._known |= {f"{above}/{each.name}": True for each in entries if each.is_dir(follow_symlinks=False)}
        if name in self._known:
            return True
        try:
            mode = os.lstat(self._top + name).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISLNK(mode):
            raise Corrupt(f"{name}: is a symbolic link", hint=HINT)
        return stat.S_ISDIR(mode)


def must_be_file(name: str, mode: int) -> None:
    """Raise Corrupt for what could lead elsewhere, or never end; FileNotFoundError for a folder."""
    if stat.S_ISDIR(mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if not stat.S_ISREG(mode):
        what = "is a symbolic link" if stat.S_ISLNK(mode) else "is not a file"
        raise Corrupt(f"{name}: {what}", hint=HINT)


def _read_all(fd: int) -> bytes:
    """As `Path.read_bytes`, in a third of its time: a history is thousands of small records. It may be growing."""
    data = os.read(fd, RECORD)
    while len(data) <= LARGEST and (more := os.read(fd, RECORD if len(data) < RECORD else CHUNK)):
        data += more
    return data
