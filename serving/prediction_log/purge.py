"""Forget a request or a caller: in every file of the log, and for the record without the name. Loads pyarrow.

`purges.jsonl` has a line when a purge begins, and one when it is done. It names what was purged by a keyed hash, so that
whoever asks for a purged request can be answered "gone", and nobody can read there whom it was about.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from registry.label_store import LabelStore
from registry.records import utc_now
from serving.prediction_log import ids
from serving.prediction_log.compact import rewrite
from serving.prediction_log.images import remove_images
from serving.prediction_log.manifest import Manifest, read_manifest, remove_replaced, write_manifest
from serving.prediction_log.rules import criterion_hash
from serving.prediction_log.segments import (
    IMAGES,
    PURGES,
    ask_to_close,
    blocks,
    closed,
    exclusive,
    replace_compressed,
)

SETTLE_SECONDS = 0.7
"""Until what was answered before is on the disk."""
FIELDS = {"request": "id", "caller": "caller"}


@dataclass(frozen=True, slots=True)
class Purge:
    """What is to be forgotten, and who asks for it."""

    kind: Literal["request", "caller"]
    value: str
    who: str


@dataclass(frozen=True, slots=True)
class Purged:
    """What came of it."""

    lines: int
    labels: int


def purge(folder: Path, wanted: Purge, key: bytes, labels: LabelStore | None = None) -> Purged:
    """Remove all lines, images and labels of a request or a caller.

    Each file is as it was, or without them. Killed on its way, it has a first line in the record and no second one; the same
    purge again does the rest. Raises TryAgain while somebody compacts, or a server process does not close its segment.
    """
    time.sleep(SETTLE_SECONDS)
    ask_to_close(folder)
    with exclusive(folder):
        _note(folder, wanted, key, {"state": "begun"})
        manifest = remove_replaced(folder, read_manifest(folder), grace=0.0)
        write_manifest(folder, Manifest(manifest.parts, {}, manifest.left_out))
        forget = _Forget(folder, wanted, key, labels)
        forget({wanted.value} if wanted.kind == "request" else set())
        lines, names = 0, set[str]()
        for segment in closed(folder):
            if gone := _ids(segment.path, wanted):
                forget(set(gone))
                replace_compressed(segment.path, _without(segment.path, wanted))
                ids.without(ids.path_of(folder, str(segment.path.relative_to(folder))), gone)
                lines += len(gone)
                names.update(gone)
        for part in manifest.parts:
            if found := _ids_of_part(folder / part, wanted):
                forget(found)
                lines += _from_part(folder / part, wanted)
                ids.without(ids.path_of(folder, part), found)
                names |= found
        prefixes = {each.replace("/", "_") for each in names | ({wanted.value} if wanted.kind == "request" else set())}
        for path in sorted((folder / IMAGES).glob("*.tar")):
            remove_images(path, lambda name: name.rsplit(".", 2)[0] in prefixes)
        _note(folder, wanted, key, {"state": "done", "lines": lines})
    return Purged(lines, forget.labels)


class _Forget:
    """Before a file loses lines: the labels of their requests go, and that they were purged is noted. A purge that is killed
    behind that finds the requests again, as long as the file has them."""

    def __init__(self, folder: Path, wanted: Purge, key: bytes, labels: LabelStore | None) -> None:
        self._folder, self._wanted, self._key, self._store = folder, wanted, key, labels
        self._known = set[str]()
        self.labels = 0
        """That are gone."""

    def __call__(self, requests: set[str]) -> None:
        new = requests - self._known
        self._known |= new
        if not new:
            return
        ids.note_purged(self._folder, new, self._key)
        if self._store:
            criterion = criterion_hash(self._key, self._wanted.kind, self._wanted.value)
            self.labels += self._store.purge(new, self._wanted.who, f"{self._wanted.kind} {criterion}")


def _matches(line: bytes, wanted: Purge) -> str | None:
    """The id of the request in a line that is to go."""
    if orjson.dumps(wanted.value) not in line:
        return None
    try:
        found: Any = orjson.loads(line)
    except ValueError:
        return None
    if isinstance(found, dict) and found.get(FIELDS[wanted.kind]) == wanted.value:
        return str(found.get("id"))
    return None


def _ids(path: Path, wanted: Purge) -> list[str]:
    """One for each line that is to go."""
    found = (_matches(line, wanted) for part in blocks(path) for line in part.splitlines())
    return [each for each in found if each is not None]


def _without(path: Path, wanted: Purge) -> Iterator[bytes]:
    for part in blocks(path):
        yield b"".join(line for line in part.splitlines(keepends=True) if _matches(line, wanted) is None)


def _ids_of_part(path: Path, wanted: Purge) -> set[str]:
    """Which requests a Parquet file is to lose."""
    field, found = FIELDS[wanted.kind], set[str]()
    with contextlib.suppress(FileNotFoundError), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["id", field] if field != "id" else ["id"]):
            table = pa.Table.from_batches([batch])
            found.update(table.filter(pc.equal(table[field], wanted.value))["id"].to_pylist())
    return found


def _from_part(path: Path, wanted: Purge) -> int:
    """How many rows are gone from a Parquet file."""

    def keep(table: pa.Table) -> pa.Table:
        is_gone = pc.fill_null(pc.equal(table[FIELDS[wanted.kind]], wanted.value), fill_value=False)
        return table.filter(pc.invert(is_gone))

    return rewrite(path, keep)


def _note(folder: Path, wanted: Purge, key: bytes, more: dict[str, Any]) -> None:
    """Add a line to the record, on the disk before anything else happens."""
    criterion = {"kind": wanted.kind, "criterion": criterion_hash(key, wanted.kind, wanted.value)}
    line = json.dumps({"at": utc_now(), "by": wanted.who, **criterion, **more}).encode() + b"\n"
    fd = os.open(folder / PURGES, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)
