"""The objects that were fetched, by their hash: `<home>/lfs/<2 digits>/<64 digits>` for Git LFS, `<home>/data/…` for other
data that do not lie in git.

They are linked into a commit's files, read-only, so that none is on the disk twice. A link changes the time at which the
kernel has last seen a change of the inode, and no other: by that the store knows what was used last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pipelines.repositories.tree import Pointer
from registry.files import TMP, sha256_file

LEGACY_CHUNK = 1 << 20  # bytes that DVC 2 converts at once


class ObjectStore:
    """Objects by their hash, as many as fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, pointer: Pointer, target: Path) -> bool:
        """Put the object in the place of the file `target`, which may be there; whether it is here. One that was damaged is
        removed.

        Its bytes are read, and compared with the pointer, each time."""
        path, new = self._path(pointer), target.with_name(f"{TMP}{target.name}"[:200])
        try:
            self._link(path, new, executable=_is_executable(target))
        except FileNotFoundError:
            return False
        if not is_named_by(new, pointer):
            new.unlink()
            path.unlink(missing_ok=True)
            return False
        new.replace(target)
        return True

    def add(self, pointer: Pointer, file: Path) -> None:
        """Keep the file under this name; whether it is the right one shows when it is placed."""
        path = self._path(pointer)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(0o444)
        if path.parent.stat().st_dev == file.stat().st_dev:
            file.replace(path)
            return
        new = path.with_name(f"{TMP}{os.getpid()}-{path.name}")  # the run's folder is on another disk
        shutil.copyfile(file, new)
        new.chmod(0o444)
        new.replace(path)

    def has(self, pointer: Pointer) -> bool:
        """Whether the object is here and whole; one that was damaged is removed."""
        path = self._path(pointer)
        try:
            if is_named_by(path, pointer):
                return True
        except FileNotFoundError:
            return False
        path.unlink(missing_ok=True)
        return False

    def read(self, pointer: Pointer) -> bytes:
        """The bytes of an object; none when it is not here."""
        try:
            return self._path(pointer).read_bytes()
        except FileNotFoundError:
            return b""

    def evict(self, most: int) -> None:
        """Remove what was not used for longest, until `most` bytes are left. What commits' files are linked to stays there."""
        for path, _size in self.over(most):
            path.unlink(missing_ok=True)

    def over(self, most: int) -> list[tuple[Path, int]]:
        """What `evict` would remove, with its size in bytes."""
        found = []
        for path in self.folder.glob("*/*"):
            with suppress(FileNotFoundError):  # evicted by another process
                status = path.stat()
                found.append((status.st_ctime_ns, path, status.st_size))
        kept, over = 0, []
        for _used, path, size in sorted(found, reverse=True):
            kept += size
            if kept > most:
                over.append((path, size))
        return over

    def _path(self, pointer: Pointer) -> Path:
        return self.folder / pointer.oid[:2] / pointer.oid

    def _link(self, path: Path, new: Path, *, executable: bool) -> None:
        new.unlink(missing_ok=True)
        if not executable:
            try:
                os.link(path, new, follow_symlinks=False)
            except FileNotFoundError:
                raise
            except OSError:  # another disk, or one without links
                pass
            else:
                return
        shutil.copyfile(path, new)
        new.chmod(0o555 if executable else 0o444)
        path.chmod(0o444)  # as a link would: it is in use


def is_named_by(path: Path, pointer: Pointer) -> bool:
    """Whether the file holds what the pointer names."""
    if pointer.size >= 0 and path.stat().st_size != pointer.size:
        return False
    if pointer.algorithm == "sha256":
        return sha256_file(path) == pointer.oid
    with path.open("rb") as file:
        if hashlib.file_digest(file, _md5).hexdigest() == pointer.oid:
            return True
        return pointer.algorithm == "md5-dos2unix" and _of_dos_text(file) == pointer.oid


def _of_dos_text(file: BinaryIO) -> str:
    """The MD5 by which DVC 2 names a text file: of its lines with line feeds only."""
    digest = _md5()
    file.seek(0)
    while chunk := file.read(LEGACY_CHUNK):
        digest.update(chunk.replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _is_executable(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o111)
    except FileNotFoundError:
        return False
