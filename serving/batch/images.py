"""Images as a source: the image files of a folder, a zip or a tar archive. Nothing is unpacked to the disk."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from registry.errors import ConfigError
from serving.batch import arrow
from serving.batch.block import BYTES, Block, Inputs, Rejected, Wanted, Wants
from serving.batch.job import Kind
from serving.batch.lines import joined
from serving.engines.base import Array
from serving.errors import Refused
from serving.protocols.read_instances import Reader
from training.data.decode import SUFFIXES

MOST_BYTES = 16 << 20
"""Of one file, before and after an archive's compression."""
MOST_MEMBERS = 100_000
"""Of a zip archive, whose list of contents is read as a whole."""
IMAGES = 64
"""Of one block: their pixels are in memory together."""
COLUMN = "file"
DAMAGE = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
Image = tuple[str, bytes, str]
"""Name, bytes, or why there are none."""


class ImagesSource:
    """Images in the order of their names (folder) or of the archive. What has another ending is passed over."""

    def __init__(self, path: Path, kind: Kind, reader: Reader, wants: Wants) -> None:
        if reader.image is None:
            raise ConfigError(
                "holds images, and the model takes none", hint="it takes columns: CSV, Parquet, JSON Lines"
            )
        self._path, self._kind, self._reader, self._wants = path, kind, reader, wants
        formats = reader.image.formats
        self._endings = tuple(ending for ending, name in SUFFIXES.items() if name in formats)
        if wants.columns is not None and (other := sorted(set(wants.columns) - {COLUMN})):
            raise ConfigError(f"column {other[0]!r} is to be kept; images have {COLUMN!r} only", hint="see --columns")
        self.keep = [COLUMN] if wants.columns is None or COLUMN in wants.columns else []
        self.schema = pa.schema([(each, pa.string()) for each in self.keep])
        self.total = self._count()
        if kind == "folder" and not self.total:
            raise ConfigError("holds no image that the model takes", hint=f"it takes {', '.join(self._endings)}")
        self._rows = 0

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """See Source."""
        images: list[Image] = []
        part = first = size = self._rows = 0
        for name, read in self._each():
            row, self._rows = self._rows, self._rows + 1
            if images and (row // self._wants.rows_per_part != part or size >= BYTES or len(images) >= IMAGES):
                yield Block(part, first, len(images), images)
                images, size = [], 0
            if not wanted(row // self._wants.rows_per_part):
                continue
            if not images:
                part, first = row // self._wants.rows_per_part, row
            images.append((name, *_read(read)))
            size += len(images[-1][1])
        if images:
            yield Block(part, first, len(images), images)

    def inputs(self, block: Block) -> Inputs:
        """See Source."""
        rejected: Rejected = {}
        found: dict[tuple[int, ...], list[tuple[int, dict[str, Array]]]] = {}
        for row, (name, data, error) in enumerate(block.body):
            try:
                if error:
                    raise Refused(400, error)
                arrays, _ = self._reader.images([data], 1)
            except Refused as refused:
                rejected[row] = f"{name}: {refused}"
                continue
            found.setdefault(next(iter(arrays.values())).shape, []).append((row, arrays))
        return Inputs([joined(each) for each in found.values()], rejected)

    def kept(self, block: Block, rows: Array) -> Any:
        """See Source."""
        names = [block.body[row][0] for row in rows.tolist()]
        return pa.table([arrow.texts(names)] if self.keep else [], self.keep)

    def rows_read(self) -> int:
        """See Source."""
        return self._rows

    def far(self) -> float:
        """See Source."""
        return 0.0

    def _each(self) -> Iterator[tuple[str, Any]]:
        """The name of each image, and a call that opens it."""
        if self._kind == "folder":
            yield from self._in_folder("")
            return
        try:
            if self._kind == "zip":
                with zipfile.ZipFile(self._path) as archive:
                    for member in archive.infolist():
                        if self._takes(member.filename):
                            yield member.filename, lambda member=member: _of_zip(archive, member)
            else:
                with tarfile.open(self._path, "r|*") as tar:
                    for info in tar:
                        if self._takes(info.name):
                            yield info.name, lambda info=info: _of_tar(tar, info)
                        tar.members = []  # type: ignore[attr-defined]  # else it remembers them all
        except DAMAGE as error:
            raise _damaged(error, self._kind) from None

    def _takes(self, name: str) -> bool:
        """By its ending; what begins with a dot, or lies in such a folder, is somebody's note."""
        parts = name.split("/")
        hidden = any(each.startswith(".") and each not in {".", ".."} for each in parts) or parts[0] == "__MACOSX"
        return name.lower().endswith(self._endings) and not hidden

    def _in_folder(self, below: str) -> Iterator[tuple[str, Any]]:
        """In order of names; links are listed, and not followed."""
        root = str(self._path)
        with os.scandir(os.path.join(root, below)) as entries:
            found = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
        for name, folder in found:
            path = f"{below}/{name}" if below else name
            if folder and not name.startswith("."):
                yield from self._in_folder(path)
            elif not folder and self._takes(name):
                yield path, lambda path=path: _of_folder(os.path.join(root, path))

    def _count(self) -> int | None:
        """How many there are, where that is cheap to know. Raises ConfigError for what is not such an archive."""
        if self._kind == "folder":
            return sum(1 for _ in self._in_folder(""))
        try:
            if self._kind == "zip":
                with self._path.open("rb") as file:
                    if (members := _members(file)) > MOST_MEMBERS:
                        hint = "make several archives, or a tar archive"
                        raise ConfigError(
                            f"holds {members} files, {MOST_MEMBERS} are allowed in a zip archive", hint=hint
                        )
                with zipfile.ZipFile(self._path) as archive:
                    return sum(map(self._takes, archive.namelist()))
            with tarfile.open(self._path, "r|*") as tar:
                next(iter(tar), None)
        except DAMAGE as error:
            raise _damaged(error, self._kind) from None
        return None


def _of_folder(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            400, "is a symbolic link" if os.path.islink(path) else f"cannot be read: {error.strerror}"
        ) from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused(400, "is not a file")
        return _bounded(file, os.fstat(fd).st_size)


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
        raise Refused(400, "is not a file")
    if member.flag_bits & 1:
        raise Refused(400, "is encrypted")
    with archive.open(member) as file:
        return _bounded(file, member.file_size)


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info) if info.isreg() else None
    if file is None:
        raise Refused(400, "is not a file")
    return _bounded(file, info.size)


def _bounded(file: IO[bytes], size: int) -> bytes:
    """The bytes of a file that says to have `size`, which need not be true."""
    data = file.read(MOST_BYTES + 1) if size <= MOST_BYTES else b""
    if size > MOST_BYTES or len(data) > MOST_BYTES:
        raise Refused(413, f"is larger than {MOST_BYTES >> 20} MB")
    if not data:
        raise Refused(400, "is empty (0 bytes)")
    return data


def _read(read: Any) -> tuple[bytes, str]:
    try:
        return read(), ""
    except Refused as error:
        return b"", str(error)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:  # one member of a zip archive
        return b"", f"cannot be read: {str(error)[:200]}"


def _members(file: IO[bytes]) -> int:
    """What the end of a zip archive says of how many files it holds."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # noqa: SLF001  (zipfile itself reads them all first)
    return int(end[zipfile._ECD_ENTRIES_TOTAL]) if end else 0  # type: ignore[attr-defined]  # noqa: SLF001


def _damaged(error: Exception, kind: str) -> ConfigError:
    said = str(error).partition("\n")[0] or type(error).__name__
    return ConfigError(
        f"cannot be read as a {kind} archive: {said:.300}", hint="is it complete, and what its name says?"
    )
