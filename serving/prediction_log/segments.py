"""The files of the prediction log, and how they come to be whole or absent. Standard library only.

    open/<start>-<process>-<number>.jsonl                           being written; its writer holds a lock on it
    segments/<start>-<process>-<number>-<lines>.v1.jsonl.gz         closed: appears by a rename, is not written any more
    images/<start>-<process>-<number>.tar                         the images of a segment, with `images = "file"`
    parquet/day=<day>/release=<release>/<name>.parquet              what compaction has made of segments
    ids/                                                            which requests are where: see serving.prediction_log.ids
    purges.jsonl                                                    who has purged what
    lock, rotate                                                    see `exclusive` and `ask_to_close`

The first line of a segment is its header, each further one an instance, or a request that was refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from registry.errors import TryAgain
from registry.files import new_file, sync_folder, try_lock
from serving.prediction_log import ids

OPEN, CLOSED, IMAGES, PARQUET = "open", "segments", "images", "parquet"
LOCK, ROTATE, PURGES = "lock", "rotate", "purges.jsonl"
SUFFIX = ".v1.jsonl.gz"
CLOSED_NAME = re.compile(r"(\d{8}T\d{9}Z)-([0-9a-z]+)-(\d+)-(\d+)\.v1\.jsonl\.gz")
OPEN_NAME = re.compile(r"(\d{8}T\d{9}Z)-([0-9a-z]+)-(\d+)\.jsonl")
CHUNK = 1 << 18
LINES_AT_ONCE = 1 << 16
"""Bytes of lines whose ids are found in one go: between two such, other threads run."""
LEVEL = 1
"""Of zlib: a line takes 5 % more than at level 3, and a quarter less time."""
WAIT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment, by its name."""

    path: Path
    start: datetime
    lines: int
    """That it had when it was closed, without its header."""

    @property
    def stem(self) -> str:
        """The same for the open segment that it was, and for its images."""
        return self.path.name.rpartition("-")[0]


def stem(now: float, process: str, number: int) -> str:
    """How the names of a segment begin that was started at `now`, in seconds since 1970."""
    start = datetime.fromtimestamp(now, UTC)
    return f"{start:%Y%m%dT%H%M%S}{start.microsecond // 1000:03d}Z-{process}-{number:06d}"


def closed(folder: Path) -> list[Segment]:
    """All closed segments, oldest first. Other files are not looked at."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder / CLOSED):
            if name := CLOSED_NAME.fullmatch(entry.name):
                start = datetime.strptime(name[1] + "+0000", "%Y%m%dT%H%M%S%fZ%z")
                found.append(Segment(Path(entry.path), start, int(name[4])))
    return sorted(found, key=lambda each: each.path.name)


class OpenSegment:
    """A segment that this process writes. Raises OSError when it cannot be made."""

    def __init__(self, folder: Path, name: str, header: bytes) -> None:
        """`name` as `stem` makes it; `header` is its first line."""
        self._folder, self.name, self.lines, self.size = folder, name, 0, 0
        self._header, self._noted = header, ids.Noted()
        self._all_noted = True
        self.path = folder / OPEN / f"{name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.append(header, 0)
        except OSError:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            raise

    def append(self, data: bytes, lines: int, requests: Iterable[tuple[str, int]] | None = None) -> None:
        """Add whole lines; all of them or none. Raises OSError. `requests`, whose lines they are, each with its instances: when
        they are given, nobody needs to look for them in the lines."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)
        self.lines += lines
        if requests is not None:
            self._noted.add(requests)
        elif lines:
            self._all_noted = False

    def is_there(self) -> bool:
        """Whether it is still under its path: not when a folder above it was moved away, or removed."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except OSError:
            return False

    @property
    def is_removed(self) -> bool:
        """Whether what is written to it is gone when it is closed."""
        return os.fstat(self._fd).st_nlink == 0

    def leave(self) -> int:
        """Close it where it is: whoever reads the folder that was moved away finds its lines. How many were removed with it."""
        lost = self.lines if self.is_removed else 0
        os.close(self._fd)
        return lost

    def close(self) -> Path | None:
        """Have it appear among the closed ones; None: it had no lines, and is gone.

        Raises OSError when the disk is full: then it stays as it is, and `recover` closes it later.
        """
        try:
            known = (self._header, self._noted.rows()) if self._all_noted else None
            return publish(self._folder, self.path, self.lines, known)
        finally:
            os.close(self._fd)


def publish(folder: Path, path: Path, lines: int, known: tuple[bytes, dict[int, int]] | None = None) -> Path | None:
    """Compress the open segment at `path`, which has so many lines, and put it among the closed ones; raises OSError.

    Its ids come first: whoever looks for one finds it in the open segment, or there. `known`: what `ids_in` would find.
    """
    target = folder / CLOSED / f"{path.stem}-{lines}{SUFFIX}"
    if lines:
        header, rows = known or ids_in(path)
        ids.write(ids.path_of(folder, f"{CLOSED}/{target.name}"), header, rows)
        with path.open("rb") as source:
            replace_compressed(target, iter(lambda: source.read(CHUNK), b""))
    path.unlink(missing_ok=True)
    return target if lines else None


def ids_in(path: Path) -> tuple[bytes, dict[int, int]]:
    """The header of the open segment at `path`, and which requests its whole lines are about; no header, where what is in its
    place, after a crash of the machine perhaps, is not one."""
    rows: dict[int, int] = {}
    with path.open("rb") as file:
        header, rest = file.readline(), b""
        while part := file.read(LINES_AT_ONCE):
            lines, sign, rest = (rest + part).rpartition(b"\n")
            ids.count_lines(rows, lines + sign)
    try:
        return (header if isinstance(json.loads(header), dict) else b""), rows
    except ValueError:
        return b"", rows


def replace_compressed(target: Path, parts: Iterator[bytes]) -> None:
    """Write `target` whole, from parts of its uncompressed content; readers see what was there before, or all of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    fd, tmp = new_file(target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            for part in parts:
                file.write(packer.compress(part))
            file.write(packer.flush())
            file.flush()
            os.fchmod(fd, 0o640)
            os.fsync(fd)
            os.replace(tmp, target)
    except BaseException:
        Path(tmp).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def recover(folder: Path) -> int:
    """Close what writers have left that do not live any more, cut behind the last whole line; how many lines that were.

    Raises OSError when the disk is full; nothing is lost then.
    """
    lines = 0
    with contextlib.suppress(FileNotFoundError):
        for path in sorted((folder / OPEN).iterdir()):
            if OPEN_NAME.fullmatch(path.name):
                lines += _recover(folder, path)
    return lines


def _recover(folder: Path, path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        if not try_lock(fd) or not os.fstat(fd).st_nlink:
            return 0
        if any((folder / CLOSED).glob(f"{path.stem}-*{SUFFIX}")):  # it was closed, and the name not yet gone
            path.unlink(missing_ok=True)
            return 0
        size, count = _whole_lines(fd)
        os.ftruncate(fd, size)
        publish(folder, path, max(count - 1, 0))
        return max(count - 1, 0)
    finally:
        os.close(fd)


def _whole_lines(fd: int) -> tuple[int, int]:
    """How many bytes the whole lines at the beginning have, and how many lines those are."""
    size = at = count = 0
    while part := os.pread(fd, CHUNK, at):
        count += part.count(b"\n")
        if (last := part.rfind(b"\n")) >= 0:
            size = at + last + 1
        at += len(part)
    return size, count


def blocks(path: Path, most: int = 8 << 20) -> Iterator[bytes]:
    """The uncompressed content of a closed segment in parts of whole lines, of about `most` bytes each at most.

    What was corrupted behind some point ends the reading there. Raises FileNotFoundError.
    """
    parts, size = list[bytes](), 0
    for part in _unpacked(path, most):
        parts.append(part)
        size += len(part)
        if size >= most:
            found = b"".join(parts)
            end = found.rfind(b"\n") + 1
            if end:
                yield found[:end]
            elif size > 4 * most:  # no line is so long: it is not a segment
                return
            parts, size = [found[end:]], len(found) - end
    found = b"".join(parts)
    if end := found.rfind(b"\n") + 1:
        yield found[:end]


def _unpacked(path: Path, most: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(31)
    with path.open("rb") as file, contextlib.suppress(zlib.error):
        while data := file.read(CHUNK):
            while data:
                yield unpacker.decompress(data, most)
                data = unpacker.unconsumed_tail
        yield unpacker.flush()


@dataclass(frozen=True, slots=True)
class OpenLines:
    """A segment that was being written when it was opened: its file can be read to the end, also when it is closed meanwhile."""

    stem: str
    fd: int

    def read(self) -> tuple[bytes, bytes]:
        """Its header, and the whole lines behind it; both empty before there is a header."""
        parts, at = list[bytes](), 0
        while part := os.pread(self.fd, CHUNK, at):
            parts.append(part)
            at += len(part)
        header, sign, lines = b"".join(parts).partition(b"\n")
        return (header, lines[: lines.rfind(b"\n") + 1]) if sign else (b"", b"")


@contextlib.contextmanager
def open_segments(folder: Path) -> Iterator[list[OpenLines]]:
    """The segments that are being written at this moment."""
    found: list[OpenLines] = []
    try:
        if (folder / OPEN).is_dir():
            for path in sorted((folder / OPEN).glob("*.jsonl")):
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    found.append(OpenLines(path.stem, fd))
        yield found
    finally:
        for each in found:
            os.close(each.fd)


def closed_at(segment: Segment) -> float:
    """When it was closed, in seconds since 1970, by the clock of the machine that did; 0 when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return segment.path.stat().st_mtime
    return 0.0


def lost_lines(segment: Segment, rows: int) -> int:
    """How many lines of a closed segment cannot be read, where `rows` can. What was purged does not count: those lines are
    not there any more, unless the file is torn, too."""
    if rows >= segment.lines:
        return 0
    unpacker, lines = zlib.decompressobj(31), 0
    with contextlib.suppress(zlib.error, FileNotFoundError), segment.path.open("rb") as file:
        while data := file.read(CHUNK):
            lines += unpacker.decompress(data).count(b"\n")
    found = max(lines - 1, 0) if unpacker.eof else segment.lines
    return max(found - rows, 0)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Nobody else compacts, purges or sends this log meanwhile. Raises TryAgain when somebody does."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        if not try_lock(fd):
            raise TryAgain(f"{folder}: the prediction log is in use by another process", hint="retry when it is done")
        yield
    finally:
        os.close(fd)


def ask_to_close(folder: Path, seconds: float = WAIT_SECONDS) -> None:
    """Have all writers close their segments, and wait until they have. Raises TryAgain when one does not."""
    recover(folder)
    waited_for = {each.name for each in (folder / OPEN).glob("*.jsonl")} if (folder / OPEN).is_dir() else set()
    if not waited_for:
        return
    (folder / ROTATE).touch()
    os.utime(folder / ROTATE)
    until = time.monotonic() + seconds
    while left := [each for each in waited_for if (folder / OPEN / each).exists()]:
        recover(folder)
        if time.monotonic() > until:
            raise TryAgain(f"{folder / OPEN / left[0]}: still being written", hint="is the disk full? retry")
        time.sleep(0.05)
