"""Packs: copies of a hundred records of a chain in one object, `.store/packs/<folder>/000001-000100`.

Who reads a long history for the first time asks for fifty objects instead of five thousand. A pack only saves time, and nobody has to trust
it: of its records those are used that have the size and the MD5 that the store's listing says of the record itself, and
whoever reads them checks what vouches for them, as for all records. It may be missing, or removed, at any time.

Where an ETag is not an MD5 (encryption with a key of KMS) there are no packs.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from registry.errors import Corrupt, PipelineError
from registry.s3_objects import Objects
from registry.s3_reads import CONNECTIONS, Facts

FOLDER = ".store/packs"
PACK = re.compile(rf"{re.escape(FOLDER)}/[^.].*/[0-9]{{6}}-[0-9]{{6}}")
RECORDS = 100
"""In each pack."""
WORTH = RECORDS // 2
"""So many of them must be wanted before a pack is asked for."""
RECORD = re.compile(r"(?P<folder>.+)/(?P<number>[0-9]{6})\.json")
BETWEEN = b"\0"  # no JSON holds it
LONGEST_KEY = 1024  # bytes


class Packs:
    """The packs of a store."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def find(self, wanted: Iterable[str], listed: Mapping[str, Facts]) -> dict[str, bytes]:
        """Those of the `wanted` records that are in packs as they are `listed`."""
        ranges: dict[tuple[str, int], list[str]] = {}
        for name in wanted:
            if place := _place(name):
                ranges.setdefault(place, []).append(name)
        worth = [
            place
            for place, names in ranges.items()
            if len(names) >= WORTH and _names(place)[-1] in listed and self._can_be_named(place)
        ]
        with ThreadPoolExecutor(max(1, min(CONNECTIONS, len(worth)))) as pool:
            packs = dict(zip(worth, pool.map(self._read, worth), strict=True))
        return {
            name: packs[place][name]
            for place in worth
            for name in ranges[place]
            if name in packs[place] and is_as_listed(packs[place][name], listed[name])
        }

    def keep(self, found: Mapping[str, bytes], read: Iterable[str], listed: Mapping[str, Facts]) -> None:
        """Make a pack of each hundred in `found`, most of which had to be `read` one by one. If that fails, nothing is lost."""
        alone: dict[tuple[str, int], int] = {}
        for name in read:
            if place := _place(name):
                alone[place] = alone.get(place, 0) + 1
        for place, count in alone.items():
            names = _names(place)
            whole = (
                count >= WORTH and self._can_be_named(place) and all(name in found and name in listed for name in names)
            )
            if whole and all(is_as_listed(found[name], listed[name]) and BETWEEN not in found[name] for name in names):
                with contextlib.suppress(FileExistsError, PipelineError):
                    self._objects.create(_pack(place), BETWEEN.join(found[name] for name in names))

    def _read(self, place: tuple[str, int]) -> dict[str, bytes]:
        try:
            records = self._objects.get(_pack(place)).split(BETWEEN)
        except (FileNotFoundError, Corrupt):
            return {}
        return dict(zip(_names(place), records, strict=False))

    def _can_be_named(self, place: tuple[str, int]) -> bool:
        return len(self._objects.place.key(_pack(place)).encode()) <= LONGEST_KEY


def ends_pack(name: str) -> list[str]:
    """The records of the pack whose last one this is; none: it is not the last one of any."""
    place = _place(name)
    names = _names(place) if place else []
    return names if names[-1:] == [name] else []


def is_as_listed(data: bytes, facts: Facts) -> bool:
    """Whether a listing that says this of an object is about these bytes; False also where it cannot be known."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return len(data) == facts.size and facts.etag.strip('"') == md5


def _place(name: str) -> tuple[str, int] | None:
    """The folder of a record, and the first number of its pack."""
    found = RECORD.fullmatch(name)
    number = int(found["number"]) if found else 0
    return (found["folder"], number - (number - 1) % RECORDS) if found and number else None


def _names(place: tuple[str, int]) -> list[str]:
    folder, first = place
    return [f"{folder}/{number:06d}.json" for number in range(first, first + RECORDS)]


def _pack(place: tuple[str, int]) -> str:
    folder, first = place
    return f"{FOLDER}/{folder}/{first:06d}-{first + RECORDS - 1:06d}"
