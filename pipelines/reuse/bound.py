"""How much of what machines share stays in a folder; see `pipelines.reuse.shared`. In a bucket we delete nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipelines.config.schema import Cache
from registry.dataclass import dataclass

AREA = "prepared"
"""The folder of all entries in the store."""


@dataclass(frozen=True, slots=True)
class Removable:
    """An entry that is over the bound, and what it frees."""

    files: tuple[Path, ...]
    bytes: int


def folder_of(cache: Cache) -> Path | None:
    """Where the entries lie; None for a bucket, and where nothing is shared."""
    kind, _, place = cache.url.partition("://")
    return Path(place) if kind == "file" else None


def over_bound(cache: Cache) -> list[Removable]:
    """The entries that were not used for longest, as far as all together are more than the settings keep."""
    folder = folder_of(cache)
    return entries_over(folder, cache.max_mb << 20) if folder else []


def entries_over(folder: Path, most: int) -> list[Removable]:
    """The same of a folder and a number of bytes."""
    over, total = list[Removable](), 0
    for _, entry in sorted(_entries(folder / AREA), key=lambda each: each[0], reverse=True):
        total += entry.bytes
        over += [entry] if total > most else []
    return over


def remove_entry(entry: Removable) -> None:
    """Delete an entry; a reader that is at it finds none, and prepares by itself."""
    for path in entry.files:
        path.unlink(missing_ok=True)


def _entries(area: Path) -> Iterator[tuple[float, Removable]]:
    """When each entry was used last, and its files; so, too, an archive that a killed process has left without a record."""
    files: dict[str, list[Path]] = {}
    for path in area.glob("*/[!.]*"):
        files.setdefault(f"{path.parent}/{path.stem.partition('-')[0]}", []).append(path)
    for group in files.values():
        with contextlib.suppress(FileNotFoundError):  # a concurrent controller has removed it
            facts = [path.stat() for path in group]
            in_order = sorted(
                group, key=lambda path: path.suffix
            )  # the record first: without it nobody asks for the archive
            yield max(each.st_mtime for each in facts), Removable(tuple(in_order), sum(each.st_size for each in facts))
