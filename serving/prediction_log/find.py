"""Find requests in the prediction log by their ids, among millions: for labels. Standard library only.

A closed file is looked up by a binary search in its ids file, the newest first; a segment that is being written is read
once, and then what was added to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from registry.dataclass import dataclass
from registry.errors import Corrupt, PipelineError
from serving.job import PredictionLogJob
from serving.prediction_log import ids
from serving.prediction_log.key import read_key
from serving.prediction_log.manifest import read_manifest
from serving.prediction_log.segments import CHUNK, OPEN

State = Literal["answered", "refused", "gone", "unknown"]
"""It has instances; it has none, as it was refused; it is not kept any more, or was purged; it never was here, or was not
kept."""
MOST_HELD = 64
"""Ids files that are open at once; a log that nobody compacts has thousands."""
TICK = 100_000_000
"""Nanoseconds in which a folder may change again without another time."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What the log has of a request."""

    state: State
    rows: int = 0
    """Its instances."""
    about: Mapping[str, Any] | None = None
    """The header of its file: model, version, outputs, classes."""


UNKNOWN, GONE = Found("unknown"), Found("gone")


class Finder:
    """Finds in the log of `job`. For one thread at a time."""

    def __init__(self, job: PredictionLogJob) -> None:
        self._job, self._folder = job, Path(job.folder)
        self._open: dict[str, _OpenIds] = {}
        self._closed: list[str] = []
        """The ids files of closed data, the newest first."""
        self._checked: dict[str, bool] = {}
        """Whether those that were looked at can be read."""
        self._held: dict[str, ids.IdFile] = {}
        """Those that are open, the one that was used last at the end."""
        self._purged: list[ids.IdFile] = []
        self._seen = 0
        self._key: bytes | None = None

    def find(self, requests: Sequence[str], now: datetime | None = None) -> dict[str, Found]:
        """Each request with what the log has of it. Raises OSError."""
        self._look_at_open()  # first: a segment that is closed meanwhile is found among the closed ones
        self._look_at_closed()
        found = {each: GONE for each in requests if self._is_purged(each)}
        left = {ids.digest(each): each for each in requests if each not in found}
        oldest = (now or datetime.now(UTC)) - timedelta(days=self._job.keep_days)
        for segment in self._open.values():
            for key in list(left):
                if (rows := segment.rows.get(key)) is not None:
                    _better(found, left, key, _found(rows, segment.about))
        for name in self._closed:
            if not left:
                break
            if file := self._opened(name):
                self._find_in(name, file, (found, left), oldest)
        return {each: found.get(each, UNKNOWN) for each in requests}

    def purged(self, requests: Iterable[str]) -> set[str]:
        """Those of these requests that were purged. Raises OSError."""
        self._look_at_closed()
        return {each for each in requests if self._is_purged(each)}

    def instances(self) -> int:
        """How many instances the log has now. Raises Corrupt for its manifest, OSError."""
        self._look_at_open()
        self._look_at_closed()
        replaced = read_manifest(self._folder).replaced
        oldest = datetime.now(UTC) - timedelta(days=self._job.keep_days)
        counted = (
            each.instances
            for name in self._closed
            if ids.data_of(name) not in replaced and self._is_kept(name, oldest) and (each := self._opened(name))
        )
        return sum(counted) + sum(sum(each.rows.values()) for each in self._open.values())

    def _find_in(
        self, name: str, file: ids.IdFile, so_far: tuple[dict[str, Found], dict[int, str]], oldest: datetime
    ) -> None:
        found, left = so_far
        kept: bool | None = None
        for key, rows in list(file.among(left.keys())):
            kept = self._is_kept(name, oldest) if kept is None else kept
            _better(found, left, key, _found(rows, file.about) if kept else GONE)

    def _is_kept(self, name: str, oldest: datetime) -> bool:
        """Whether the data of an ids file count; what was sent elsewhere counts for as long as it would have been kept."""
        at = ids.time_of(name)
        young = at is not None and at >= oldest
        return young and (self._job.sent or (self._folder / ids.data_of(name)).exists())

    def _is_purged(self, request: str) -> bool:
        if not self._purged:
            return False
        if self._key is None:
            self._key = read_key(Path(self._job.key))
        key = ids.digest(request, self._key)
        return any(each.rows(key) is not None for each in self._purged)

    def _look_at_open(self) -> None:
        there = set[str]()
        with contextlib.suppress(FileNotFoundError):
            there = {each.name for each in os.scandir(self._folder / OPEN) if each.name.endswith(".jsonl")}
        self._open = {name: each for name, each in self._open.items() if name in there}
        for name in there:
            each = self._open.setdefault(name, _OpenIds(self._folder / OPEN / name))
            with contextlib.suppress(FileNotFoundError):
                each.look()

    def _look_at_closed(self) -> None:
        folder = self._folder / ids.IDS
        try:
            seen = folder.stat().st_mtime_ns
        except FileNotFoundError:
            self._closed, self._purged = [], []
            return
        if seen == self._seen:
            return
        names = [each.name for each in os.scandir(folder) if each.name.endswith(ids.SUFFIX) and ids.time_of(each.name)]
        names.sort(key=lambda each: str(ids.time_of(each)), reverse=True)
        self._closed = [name for name in names if ids.PURGED not in name]
        there = set(self._closed)
        self._checked = {name: good for name, good in self._checked.items() if name in there}
        self._held = {name: file for name, file in self._held.items() if name in there}
        self._purged = [each for name in names if ids.PURGED in name and (each := _read(folder / name))]
        self._seen = seen if time.time_ns() - seen > TICK else 0

    def _opened(self, name: str) -> ids.IdFile | None:
        """None: it cannot be read, or has gone meanwhile. Each that is open takes one of the process's files."""
        known = self._checked.get(name)
        if known is False:
            return None
        file = self._held.pop(name, None) or _read(self._folder / ids.IDS / name, known=known is True)
        self._checked[name] = file is not None
        if file:
            while len(self._held) >= MOST_HELD:
                del self._held[next(iter(self._held))]
            self._held[name] = file
        return file


class _OpenIds:
    """Of a segment that is being written."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self.about: dict[str, Any] | None = None
        self.rows: dict[int, int] = {}

    def look(self) -> None:
        """Read what was added."""
        with self._path.open("rb") as file:
            if self.about is None:
                header = file.readline()
                if not header.endswith(b"\n"):
                    return
                with contextlib.suppress(ValueError):
                    self.about = json.loads(header)
                self.about, self._at = self.about or {}, len(header)
            file.seek(self._at)
            rest = b""
            while part := file.read(CHUNK):
                lines, sign, rest = (rest + part).rpartition(b"\n")
                ids.count_lines(self.rows, lines + sign)
                self._at += len(lines + sign)


def _found(rows: int, about: Mapping[str, Any] | None) -> Found:
    return Found("answered" if rows else "refused", rows, about)


def _better(found: dict[str, Found], left: dict[int, str], key: int, new: Found) -> None:
    """A client that sends one id twice has several: the newest that was answered counts, then any other."""
    request = left[key]
    if new.state == "answered":
        found[request] = new
        del left[key]
    elif request not in found or found[request].state == "gone":
        found[request] = new


def _read(path: Path, *, known: bool = False) -> ids.IdFile | None:
    try:
        return ids.IdFile(path, known=known)
    except FileNotFoundError:
        return None
    except (Corrupt, OSError) as error:
        hint = error.hint if isinstance(error, PipelineError) else ""
        log.error("%s; requests in there are unknown; %s", error, hint)  # noqa: TRY400  (one line for the operator)
        return None
