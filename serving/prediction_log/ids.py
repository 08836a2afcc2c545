"""Which requests a file of the prediction log has: a small file beside each, to find one among millions without reading any.

    ids/<path of the data, with + for />.ids     the requests in a closed segment or a Parquet file
    ids/purged+<time>.ids                        what was purged, by keyed hashes

Such a file has a header (MAGIC, the data's own header, padding), then the hashes of the requests' ids, sorted, then for
each how many instances it has (0: it was refused). It outlives its data: a request that is not kept any more is not the
same as one that never was. Standard library only.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from registry.errors import Corrupt
from registry.files import new_file, sync_folder

IDS, PURGED, SUFFIX = "ids", "purged+", ".ids"
MAGIC = b"trainyard ids 1 "
LINE = re.compile(
    rb'^\{"model":(?:null|"(?:[^"\\]|\\.)*"),"version":[^,]*,"release":[^,]*,"id":"([^"\\]+)","row":(null|[0-9]+)',
    re.MULTILINE,
)
"""How each line of a segment begins."""
NAME = re.compile(r"(?:segments|purged)\+(\d{8}T\d{9}Z)|parquet\+day=(\d{4}-\d\d-\d\d)\+")
MOST_ROWS = 2**32 - 1
SEARCH = 25
"""A search costs as much as passing by so many."""


def digest(request: str, key: bytes = b"") -> int:
    """64 bits of a request's id; with a key nobody else can try which id it is."""
    return int.from_bytes(_digest(request, key), "big")


def _digest(request: str, key: bytes = b"") -> bytes:
    return blake2b(request.encode(errors="replace"), digest_size=8, key=key[:64]).digest()


def path_of(folder: Path, data: str) -> Path:
    """Where the ids of a file are; `data` is its path within the log's folder."""
    return folder / IDS / (data.replace("/", "+") + SUFFIX)


def data_of(name: str) -> str:
    """The path within the log's folder of what an ids file is about."""
    return name.removesuffix(SUFFIX).replace("+", "/")


def time_of(name: str) -> datetime | None:
    """When the newest predictions in what an ids file is about can have been made, about; None: not such a name."""
    if not (found := NAME.match(name)):
        return None
    if found[1]:
        return datetime.strptime(found[1] + "+0000", "%Y%m%dT%H%M%S%fZ%z")
    return datetime.fromisoformat(f"{found[2]}T00:00:00+00:00") + timedelta(days=1)


class Noted:
    """The requests of a segment that is being written, as its writer knows them: 12 bytes each."""

    def __init__(self) -> None:
        self._keys, self._counts = array("Q"), array("I")

    def add(self, requests: Iterable[tuple[str, int]]) -> None:
        """Each with how many instances it has; 0: it was refused."""
        given = list(requests)
        keys = array("Q", b"".join(_digest(name) for name, _ in given))
        if sys.byteorder == "little":
            keys.byteswap()
        self._keys += keys
        self._counts.extend(min(rows, MOST_ROWS) for _, rows in given)

    def rows(self) -> dict[int, int]:
        """Hash → how many instances; the most, of one id that came twice."""
        found = dict[int, int]()
        for key, rows in zip(self._keys, self._counts, strict=True):
            if found.get(key, -1) < rows:
                found[key] = rows
        return found


def count_lines(rows: dict[int, int], lines: bytes) -> None:
    """Note in `rows` which requests these whole lines are about: hash → how many instances."""
    for found in LINE.finditer(lines):
        note(rows, digest(found[1].decode()), -1 if found[2] == b"null" else int(found[2]))


def note(rows: dict[int, int], key: int, row: int) -> None:
    """That a request has this row; -1: it was refused."""
    if rows.get(key, -1) <= row:
        rows[key] = min(row + 1, MOST_ROWS)


def write(path: Path, header: bytes, rows: Mapping[int, int]) -> None:
    """Have the file at `path` be there, whole. `header`: the first line of a segment, or nothing."""
    keys = array("Q", sorted(rows))
    counts = array("I", [rows[each] for each in keys])
    if sys.byteorder == "big":  # pragma: no cover
        keys.byteswap()
        counts.byteswap()
    body = keys.tobytes() + counts.tobytes()
    facts = json.dumps({"rows": len(keys), "crc": zlib.crc32(body), "about": json.loads(header or b"{}")}).encode()
    head = MAGIC + facts
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, tmp = new_file(path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(head + b" " * (-(len(head) + 1) % 8) + b"\n" + body)
            file.flush()
            os.fchmod(fd, 0o640)
            os.fsync(fd)
            os.replace(tmp, path)
    finally:
        Path(tmp).unlink(missing_ok=True)
    sync_folder(path.parent)


class IdFile:
    """An ids file, mapped into memory, which holds it open. Raises FileNotFoundError, Corrupt."""

    def __init__(self, path: Path, *, known: bool = False) -> None:
        """`known`: its checksum was compared before."""
        with path.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                start = self._map.find(b"\n") + 1
                facts = json.loads(self._map[len(MAGIC) : start])
                size = int(facts["rows"])
                body = memoryview(self._map)[start:]
                good = self._map[: len(MAGIC)] == MAGIC and len(body) == size * 12
                good = good and (known or zlib.crc32(body) == facts["crc"])
            except (ValueError, KeyError, TypeError) as error:
                raise Corrupt(f"{path}: {error}", hint=HINT) from None
        if not good:
            raise Corrupt(f"{path}: checksum mismatch", hint=HINT)
        self.about: dict[str, Any] = facts["about"]
        """The data's header."""
        self._keys, self._counts = body[: size * 8].cast("Q"), body[size * 8 :].cast("I")

    def rows(self, key: int) -> int | None:
        """How many instances the request with this hash has here; 0: it was refused; None: it is not here."""
        place = bisect_left(self._keys, key)
        return self._counts[place] if place < len(self._keys) and self._keys[place] == key else None

    def among(self, keys: Collection[int]) -> Iterator[tuple[int, int]]:
        """Those of the hashes that are here, with their numbers of instances: by a search for each, or, for many, by one pass."""
        if len(keys) * SEARCH < len(self._keys):
            for key in keys:
                if (rows := self.rows(key)) is not None:
                    yield key, rows
        else:
            for place, key in enumerate(self._keys.tolist()):
                if key in keys:
                    yield key, self._counts[place]

    def items(self) -> Iterator[tuple[int, int]]:
        """All hashes with their numbers of instances."""
        return zip(self._keys, self._counts, strict=True)

    @property
    def instances(self) -> int:
        """Of all requests together."""
        return sum(self._counts)


HINT = "remove it: `trainyard log compact` makes it again, as far as its data is kept"


def without(path: Path, requests: Iterable[str]) -> None:
    """Write the ids file at `path` again without these requests; nothing when it is not there."""
    try:
        found = IdFile(path)
    except FileNotFoundError:
        return
    left = dict(found.items())
    for each in requests:
        left.pop(digest(each), None)
    write(path, json.dumps(found.about).encode(), left)


def note_purged(folder: Path, requests: Iterable[str], key: bytes) -> None:
    """Remember that these requests were purged, by hashes that nobody can try out without the key."""
    now = datetime.now(UTC)
    name = f"{PURGED}{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z-{os.urandom(4).hex()}{SUFFIX}"
    rows = dict.fromkeys((digest(each, key) for each in requests), 0)
    if rows:
        write(folder / IDS / name, b"", rows)
