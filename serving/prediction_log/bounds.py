"""How much of the prediction log stays: by age, and by size. The rule, and what applies it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serving.prediction_log import ids
from serving.prediction_log.losses import DROPPED
from serving.prediction_log.segments import IMAGES, PARQUET, closed

DAY = re.compile(r"day=(\d{4}-\d\d-\d\d)")
IMAGE_NAME = re.compile(r"(\d{8}T\d{9}Z)-[0-9a-z]+-\d+\.tar")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the log."""

    path: Path
    at: datetime
    """When its newest predictions can have been made, about."""
    bytes: int
    lines: int = 0
    """Of a segment."""


def to_remove(files: Sequence[File], keep_days: float, max_bytes: int, now: datetime) -> list[File]:
    """Those that are older than `keep_days`, and then the oldest ones until all others have `max_bytes` at most."""
    oldest = now - timedelta(days=keep_days)
    gone = [each for each in files if each.at < oldest]
    kept = sorted((each for each in files if each.at >= oldest), key=lambda each: (each.at, str(each.path)))
    total = sum(each.bytes for each in kept)
    for each in kept:
        if total <= max_bytes:
            break
        gone.append(each)
        total -= each.bytes
    return gone


def enforce(folder: Path, keep_days: float, max_mb: float, now: datetime | None = None) -> list[File]:
    """Remove what is too much; what was removed. The ids of it stay for a while: see `old_ids`."""
    now = now or datetime.now(UTC)
    found = to_remove(list(files(folder)), keep_days, int(max_mb * 2**20), now)
    gone = [each for each in found if remove(each.path)]
    for each in old_ids(folder, keep_days, int(max_mb * 2**20), now):
        remove(each)
    return gone


def old_ids(folder: Path, keep_days: float, max_bytes: int, now: datetime) -> list[Path]:
    """Which ids files are to go: of data that are gone, those older than twice `keep_days`, and the oldest ones beyond a
    tenth of `max_bytes`. Until then who asks for such a request can be answered "gone"."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder / ids.IDS):
            at = ids.time_of(entry.name)
            if at and not (folder / ids.data_of(entry.name)).exists():
                with contextlib.suppress(FileNotFoundError):
                    found.append(File(Path(entry.path), at, entry.stat().st_size))
    return [each.path for each in to_remove(found, 2 * keep_days, max_bytes // 10, now)]


def files(folder: Path) -> Iterator[File]:
    """All that counts: closed segments, images, Parquet. One that somebody has just removed is left out."""
    for segment in closed(folder):
        with contextlib.suppress(FileNotFoundError):
            yield File(segment.path, segment.start, segment.path.stat().st_size, segment.lines)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder / IMAGES):
            if name := IMAGE_NAME.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    at = datetime.strptime(name[1] + "+0000", "%Y%m%dT%H%M%S%fZ%z")
                    yield File(Path(entry.path), at, entry.stat().st_size)
    for path in (folder / DROPPED).glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            at = datetime.fromisoformat(f"{path.stem}T00:00:00+00:00") + timedelta(days=1)
            yield File(path, at, path.stat().st_size)
    for path in (folder / PARQUET).glob("day=*/release=*/*.parquet"):
        if day := DAY.fullmatch(path.parent.parent.name):
            with contextlib.suppress(FileNotFoundError, ValueError):
                at = datetime.fromisoformat(f"{day[1]}T00:00:00+00:00") + timedelta(days=1)
                yield File(path, at, path.stat().st_size)


def remove(path: Path) -> bool:
    """Remove a file of the log; False: it was gone. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    for each in path.parents[:2] if path.suffix == ".parquet" else ():
        with contextlib.suppress(OSError):  # not empty
            each.rmdir()
    return True
