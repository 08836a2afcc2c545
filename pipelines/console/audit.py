"""Who did what in the console, when and from where: lines that are only appended, each with the hash of the one before.

    <home>/console/audit/000001.jsonl, 000002.jsonl, …

Whoever changes or removes a line in the middle breaks the chain. A file is full at a tenth of the bound, and the oldest go when
all together reach it: what is left still is a chain.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import current_app, g, request

from registry.dataclass import dataclass
from registry.errors import TryAgain
from registry.files import sync_folder
from registry.records import utc_now

FILES = 10
TAIL = 256 * 1024
"""Bytes at the end of a file that hold its last line."""
LONGEST = 2000
"""Characters of a detail; who writes more is cut."""
FIELDS = ("number", "at", "who", "how", "address", "action", "model", "detail", "previous")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did."""

    number: int
    at: str
    who: str
    how: str
    """How that person had signed in."""
    address: str
    action: str
    model: str
    detail: str
    previous: str
    """SHA-256 of the line before; empty for the first."""

    def line(self) -> str:
        """As it is kept, without the line's end."""
        return json.dumps({name: getattr(self, name) for name in FIELDS}, ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Checked:
    """What one file says: problems within it, its first entry, and what the first of the next file must name."""

    problems: tuple[str, ...]
    first: Entry | None
    next: tuple[str, int]


class AuditLog:
    """The log of one console; several processes may append."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most = folder, most_bytes
        self._checked: dict[Path, tuple[tuple[int, ...], _Checked]] = {}

    def append(self, who: str, how: str, address: str, action: str, model: str, detail: str) -> Entry:
        """Keep an entry: it is on the disk when this returns. Raises TryAgain when it cannot be written, so that nothing is done
        without an entry."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self._folder / "lock"):
                if files := self._files():
                    _drop_half_a_line(files[-1])
                last = self._last_line()
                before = json.loads(last)["number"] if last else 0
                entry = Entry(
                    before + 1, utc_now(), who, how, address, action, model, detail[:LONGEST],
                    hashlib.sha256(last.encode()).hexdigest() if last else "",
                )  # fmt: skip
                self._write(entry)
        except (OSError, ValueError, KeyError) as error:
            said = error.strerror if isinstance(error, OSError) else "its last line cannot be read"
            raise TryAgain(
                f"the audit log in {self._folder} cannot be written: {said}; nothing was done",
                hint="`df` shows whether the disk is full; a damaged file can be moved away, and the log begins anew",
            ) from error
        return entry

    def entries(self) -> Iterator[Entry]:
        """All that is there, the oldest first. A line that is not an entry is left out here, and found by `problems`."""
        for line in self._lines():
            if entry := _read(line):
                yield entry

    def problems(self) -> list[str]:
        """Where the chain is broken. A file that has not changed since it was checked is not read again."""
        found: list[str] = []
        before: _Checked | None = None
        for file in self._files():
            try:
                info = file.stat()
                key = (info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
                known = self._checked.get(file)
                if known is None or known[0] != key:
                    known = self._checked[file] = (key, _check(self._lines_of(file)))
            except FileNotFoundError:  # the bound has removed it meanwhile
                continue
            checked = known[1]
            found += checked.problems
            if before and checked.first and (checked.first.previous, checked.first.number) != before.next:
                found.append(f"entry {checked.first.number} does not follow entry {before.next[1] - 1} as it is now")
            if before is None and checked.first and checked.first.number == 1 and checked.first.previous:
                found.append("entry 1 names one before it")
            before = checked if checked.first else before
        return found

    def _files(self) -> list[Path]:
        return sorted(each for each in self._folder.glob("*.jsonl") if each.stem.isdigit())

    def _lines(self) -> Iterator[str]:
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):  # the bound has removed it meanwhile
                yield from self._lines_of(file)

    @staticmethod
    def _lines_of(file: Path) -> Iterator[str]:
        with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            yield from (line.removesuffix("\n") for line in lines)

    def _last_line(self) -> str:
        for file in reversed(self._files()):
            with file.open("rb") as lines:
                lines.seek(max(0, file.stat().st_size - TAIL))
                whole = lines.read().decode("utf-8", "replace").splitlines()
            if whole:
                return whole[-1]
        return ""

    def _write(self, entry: Entry) -> None:
        files = self._files()
        number = int(files[-1].stem) if files else 1
        if files and files[-1].stat().st_size >= self._most // FILES:
            number += 1
        path = self._folder / f"{number:06}.jsonl"
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            line = entry.line().encode() + b"\n"
            if os.write(fd, line) < len(line):  # the rest of it would have no place
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)
        if not files or path != files[-1]:
            sync_folder(self._folder)
            for old in [*files, path][: -(FILES + 1)]:
                old.unlink(missing_ok=True)


def record(action: str, model: str, detail: str) -> None:
    """Keep that who has signed in does this, from a view: called before it is done. Raises TryAgain when it cannot be kept."""
    log: AuditLog = current_app.extensions["trainyard"].audit
    person = g.get("person")
    who, how = (person.shown, person.how) if person else ("", "")
    log.append(who, how, request.remote_addr or "", action, model, detail)


def _drop_half_a_line(path: Path) -> None:
    """A writer that was killed may have left it: it was never said to be kept."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)


def _check(lines: Iterable[str]) -> _Checked:
    found: list[str] = []
    first, follows = None, ("", 0)
    for line in lines:
        entry = _read(line)
        if entry is None:
            found.append(f"after entry {max(0, follows[1] - 1)}: a line that is not an entry")
            continue
        if first and (entry.previous, entry.number) != follows:
            found.append(f"entry {entry.number} does not follow entry {follows[1] - 1} as it is now")
        first = first or entry
        follows = (hashlib.sha256(line.encode()).hexdigest(), entry.number + 1)
    return _Checked(tuple(found), first, follows)


def _read(line: str) -> Entry | None:
    try:
        found = json.loads(line)
        entry = Entry(**{name: found[name] for name in FIELDS})
    except (ValueError, KeyError, TypeError):
        return None
    good = isinstance(entry.number, int) and all(isinstance(getattr(entry, name), str) for name in FIELDS[1:])
    return entry if good else None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, of all threads and processes."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
