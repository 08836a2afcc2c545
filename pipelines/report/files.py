"""The files of a report: small, few, and none that a worker could have made into something else."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from xml.parsers import expat

from pipelines.text.clean import clean
from registry.errors import Corrupt
from registry.files import sync_folder
from training.worker.protocol import read_foreign

MAX_FILE = 2 << 20  # bytes
MAX_ALL = 16 << 20  # bytes, with the page, for which there is always room
MAX_PIXELS = 16_000_000  # of an image, which a browser unpacks
LOG, LOG_LINES, LOG_BYTES, MAX_LINE = "worker.log", 40, 64 << 10, 300
FOREIGN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_DEPTH = 16  # elements within elements of a JUnit file; there are four or so
PNG = b"\x89PNG\r\n\x1a\n"


class Collected:
    """Names and bytes, and notes about what was left out. Nothing is on the disk until `write`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.about: dict[str, str] = {}
        """Name → what it is, for the links."""
        self.notes: list[str] = []
        self.log = ""
        """The last lines that the worker of a failed step has printed."""

    def add(self, name: str, data: bytes, about: str) -> bool:
        """Keep a file, unless it is too large."""
        if len(data) > MAX_FILE or sum(map(len, self.files.values())) + len(data) > MAX_ALL - 2 * MAX_FILE:
            self.notes.append(f"{name} was left out: {len(data):,} bytes are too much for a report")
            return False
        self.files[name], self.about[name] = data, about
        return True

    def copy(self, path: Path, name: str, about: str) -> bool:
        """Keep a copy of a file of the run, when there is one."""
        data = self.read(path, name)
        return bool(data) and self.add(name, data, about)

    def plot(self, path: Path, name: str, about: str) -> tuple[int, int] | None:
        """Keep a copy of a PNG; gives its width and height in pixels."""
        data = self.read(path, name)
        if not data:
            return None
        size = png_size(data)
        if size is None:
            self.notes.append(f"{name} was left out: it is not a PNG image")
            return None
        return size if self.add(name, data, about) else None

    def junit(self, path: Path, name: str, about: str) -> None:
        """Keep a copy of a JUnit file."""
        data = self.read(path, name)
        if not data:
            return
        if problem := junit_problem(data):
            self.notes.append(f"{name} was left out: {problem}")
        else:
            self.add(name, data, about)

    def read(self, path: Path, name: str) -> bytes:
        """The bytes at `path`; empty when there is nothing, or nothing that a report takes, and then with a note."""
        try:
            return read_foreign(path, MAX_FILE)
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            self.notes.append(f"{name} was left out: its folder is not a folder")
        except Corrupt as error:
            self.notes.append(f"{name} was left out: {error}")
        return b""

    def tail(self, folder: Path) -> None:
        """Keep the last lines of a worker's log: of the newest one in the job folder, or in those below it."""
        logs = [path for path in (folder / LOG, *folder.glob(f"*/{LOG}")) if path.is_file() and not path.is_symlink()]
        if logs:
            lines = _end_of(max(logs, key=lambda path: path.stat().st_mtime)).splitlines()
            self.log = "\n".join(clean(each, MAX_LINE) for each in lines[-LOG_LINES:])

    def write(self, folder: Path) -> None:
        """Make the folder, whole or not at all; nothing bears its name. Raises OSError."""
        new = folder.with_name(f".tmp-{folder.name}-new")
        try:
            folders = {new, *((new / name).parent for name in self.files)}
            for each in sorted(folders):
                each.mkdir()
            _write_all({new / name: data for name, data in self.files.items()})
            for each in folders:
                sync_folder(each)
            os.rename(new, folder)
        except BaseException:
            _remove(new)
            raise
        sync_folder(folder.parent)


def _end_of(path: Path) -> str:
    """The last part of a regular file; empty for anything else, whoever has put it there."""
    with contextlib.suppress(OSError), open(os.open(path, FOREIGN), "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            return file.read(LOG_BYTES).decode("utf-8", "replace")
    return ""


def discard(folder: Path) -> None:
    """Remove an older report, so that it is not taken for one of this try, and what a killed process has left of one.

    Nobody sees half of it. We hold the run's lock.
    """
    new, old = (folder.with_name(f".tmp-{folder.name}-{each}") for each in ("new", "old"))
    for left in (new, old):
        _remove(left)
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, old)
    _remove(old)


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG; None when it is not one, or too large to be drawn."""
    if not data.startswith(PNG) or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width, height = struct.unpack(">II", data[16:24])
    return (width, height) if width and height and width * height <= MAX_PIXELS else None


def junit_problem(data: bytes) -> str:
    """Why a server should not be given this as a JUnit file; empty when it may. No DTD, and so no entities."""
    parser = expat.ParserCreate()
    open_elements: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        if not open_elements and name not in {"testsuites", "testsuite"}:
            raise ValueError("its root is not <testsuites>")
        open_elements.append(name)
        if len(open_elements) > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} elements within each other")

    def doctype(*_: object) -> None:
        raise ValueError("it has a DTD")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _name: open_elements.pop()
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except ValueError as error:
        return str(error)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an encoding that nobody knows
        return f"not XML: {error}"
    return ""


def _write_all(files: Mapping[Path, bytes]) -> None:
    """Write each in a thread of its own: one wait for the disk, not one per file. Raises the first error.

    Without an executor, whose import takes longer than this.
    """
    errors: list[Exception] = []

    def write(path: Path, data: bytes) -> None:
        try:
            _write(path, data)
        except Exception as error:  # noqa: BLE001  (raised again by whoever waits for the threads)
            errors.append(error)

    threads = [Thread(target=write, args=each) for each in files.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """Whatever bears that name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
