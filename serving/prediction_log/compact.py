"""From closed segments to Parquet by day and release. Loads pyarrow, so only in workers."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from registry.files import new_file, sweep, sync_folder
from serving.prediction_log import bounds, ids
from serving.prediction_log.manifest import Manifest, read_manifest, remove_replaced, write_manifest
from serving.prediction_log.segments import (
    PARQUET,
    Segment,
    blocks,
    closed,
    closed_at,
    exclusive,
    lost_lines,
    recover,
)
from serving.prediction_log.tables import HEADER, ROWS, header_of, schema_of, segment_tables

MOST_PARTS = 16
"""Parquet files of one day, release and header; when there are more, they become one."""
GROUP_ROWS = 2 * ROWS
"""Of a row group."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What came of it."""

    segments: int
    lines: int
    parts: int
    """Parquet files that were written."""
    unreadable: int
    """Segments that another version of Trainyard has written, or whose header is corrupted; they stay."""
    removed: int
    """Files that were too old, or too much."""
    left_out: int = 0
    """Lines that could not be read."""


def compact(folder: Path, keep_days: float, max_mb: float) -> Compacted:
    """Bring all closed segments into Parquet files, and remove what is not to be kept.

    Killed at any moment it has done nothing, or all. Raises TryAgain when another process compacts, Corrupt, OSError.
    """
    with exclusive(folder):
        recover(folder)
        for each in (folder / PARQUET).glob("day=*/release=*"):
            sweep(each)
        manifest = remove_replaced(folder, read_manifest(folder))
        groups, unreadable = _grouped([each for each in closed(folder) if manifest.counts(folder, each.path)])
        parts, lines, replaced = list[str](), 0, list[str]()
        left_out = dict[str, tuple[float, int]]()
        for group in groups:
            made, count = _write(folder, group[0].stem, _counted(group, left_out))
            parts += made
            lines += count
            replaced += [str(each.path.relative_to(folder)) for each in group]
        manifest = _with(_noted(manifest, left_out, keep_days), parts, replaced)
        if replaced or manifest != read_manifest(folder):
            write_manifest(folder, manifest)
        manifest = _merge(folder, manifest)
        for name in manifest.parts:  # of an earlier version of Trainyard, or one that was damaged
            if not ids.path_of(folder, name).exists():
                _write_ids(folder, name)
        gone = bounds.enforce(folder, keep_days, max_mb)
        lost = sum(count for _, count in left_out.values())
        return Compacted(len(replaced), lines, len(parts), unreadable, len(gone), lost)


def _grouped(segments: Sequence[Segment]) -> tuple[list[list[Segment]], int]:
    """Segments with the same header, oldest first; and how many have none that can be read."""
    groups: dict[bytes, list[Segment]] = {}
    unreadable = 0
    for each in segments:
        header = b""
        with contextlib.suppress(FileNotFoundError):
            header = next(blocks(each.path, 1 << 20), b"").partition(b"\n")[0]
        if schema_of(header) is None:
            unreadable += 1
        else:
            groups.setdefault(header, []).append(each)
    return list(groups.values()), unreadable


def _counted(group: Sequence[Segment], left_out: dict[str, tuple[float, int]]) -> Iterator[pa.Table]:
    """The tables of some segments; which of those have lines that cannot be read is put into `left_out`."""
    for each in group:
        rows = 0
        for table in segment_tables(each.path):
            rows += table.num_rows
            yield table
        if lost := lost_lines(each, rows):
            left_out[each.path.name] = closed_at(each), lost


def _noted(manifest: Manifest, left_out: dict[str, tuple[float, int]], keep_days: float) -> Manifest:
    """With further segments of which lines were left out, and without those that would be too old by now themselves."""
    oldest = time.time() - keep_days * 86_400
    known = {name: each for name, each in manifest.left_out.items() if each[0] >= oldest}
    return replace(manifest, left_out=known | left_out)


def _with(manifest: Manifest, parts: Sequence[str], instead_of: Sequence[str]) -> Manifest:
    """With further parts, in place of what they replace."""
    gone = set(instead_of)
    left = tuple(each for each in manifest.parts if each not in gone)
    return replace(manifest, parts=(*left, *parts), replaced=manifest.replaced | dict.fromkeys(instead_of, time.time()))


def _merge(folder: Path, manifest: Manifest) -> Manifest:
    """Have many parts of one day, release and header be one."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name in sorted(manifest.parts):
        alike.setdefault((str(Path(name).parent), Path(name).name.partition("-")[0]), []).append(name)
    for names in alike.values():
        if len(names) > MOST_PARTS:
            files = [pq.ParquetFile(folder / name) for name in names]
            made, _ = _write(folder, f"{Path(names[0]).stem.partition('-')[2]}m", _tables(files))
            manifest = _with(manifest, made, names)
            write_manifest(folder, manifest)
    return manifest


def _tables(files: Sequence[Any]) -> Iterator[pa.Table]:
    for file in files:
        with file:
            for batch in file.iter_batches(ROWS):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)


def _write(folder: Path, name: str, tables: Iterator[pa.Table]) -> tuple[list[str], int]:
    """Write the tables, which have one schema, by day; paths relative to `folder`, and how many rows there were."""
    days: dict[str, _Part] = {}
    rows = 0
    try:
        for table in tables:
            days_of = pc.strftime(table["time"], format="%Y-%m-%d")
            for day in pc.unique(days_of).to_pylist():
                part = table.filter(pc.equal(days_of, day)) if day else table.slice(0, 0)
                if part.num_rows:
                    if day not in days:
                        days[day] = _Part(folder, day, name, part.schema)
                    days[day].add(part)
                    rows += part.num_rows
        return [each.publish(folder) for each in days.values()], rows
    except BaseException:
        for each in days.values():
            each.abandon()
        raise


class _Part:
    """A Parquet file that is being written."""

    def __init__(self, folder: Path, day: str, name: str, schema: pa.Schema) -> None:
        header = header_of(schema)
        mark = sha256(schema.metadata[HEADER]).hexdigest()[:8]
        self._path = folder / PARQUET / f"day={day}" / f"release={header['release'] or 0}" / f"{mark}-{name}.parquet"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd, self._tmp = new_file(self._path.parent)
        self._file = open(fd, "wb")  # noqa: SIM115  (closed in `publish` or `abandon`)
        self._writer = _writer(self._file, schema)
        self._waiting: list[pa.Table] = []
        self._header, self._rows = bytes(schema.metadata[HEADER]), dict[int, int]()

    def add(self, table: pa.Table) -> None:
        """Write it with the next row group."""
        self._waiting.append(table)
        count_rows(self._rows, table)
        if sum(each.num_rows for each in self._waiting) >= GROUP_ROWS:
            self._flush()

    def publish(self, folder: Path) -> str:
        """Have it appear; the manifest decides when it counts."""
        name = str(self._path.relative_to(folder))
        ids.write(ids.path_of(folder, name), self._header, self._rows)
        self._flush()
        self._writer.close()
        os.fchmod(self._file.fileno(), 0o640)
        os.fsync(self._file.fileno())
        os.replace(self._tmp, self._path)
        self._file.close()
        sync_folder(self._path.parent)
        return name

    def abandon(self) -> None:
        """Leave nothing."""
        with contextlib.suppress(OSError):
            self._file.close()
        Path(self._tmp).unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=GROUP_ROWS)
            self._waiting = []


def count_rows(rows: dict[int, int], table: pa.Table) -> None:
    """Note in `rows` which requests a table is about, as `ids.count_lines` does."""
    found = table.select(["id", "row"]).group_by("id").aggregate([("row", "max")])
    for request, row in zip(found["id"].to_pylist(), found["row_max"].to_pylist(), strict=True):
        ids.note(rows, ids.digest(request or ""), -1 if row is None else row)


def _write_ids(folder: Path, name: str) -> None:
    """Of a Parquet file that has none."""
    rows: dict[int, int] = {}
    with pq.ParquetFile(folder / name) as file:
        for batch in file.iter_batches(ROWS, columns=["id", "row"]):
            count_rows(rows, pa.Table.from_batches([batch]))
        ids.write(ids.path_of(folder, name), file.schema_arrow.metadata[HEADER], rows)


def rewrite(path: Path, keep: Callable[[pa.Table], pa.Table]) -> int:
    """Write a Parquet file again with what `keep` leaves of its tables; how many rows are gone. Whole or not at all."""
    with pq.ParquetFile(path) as file:
        schema, before = file.schema_arrow, file.metadata.num_rows
        fd, tmp = new_file(path.parent)
        after = 0
        try:
            with open(fd, "wb") as target:
                with _writer(target, schema) as writer:
                    for batch in file.iter_batches(GROUP_ROWS):
                        left = keep(pa.Table.from_batches([batch]))
                        after += left.num_rows
                        if left.num_rows:
                            writer.write_table(left.replace_schema_metadata(schema.metadata))
                if after < before:
                    os.fchmod(fd, 0o640)
                    os.fsync(fd)
                    os.replace(tmp, path)
        finally:
            Path(tmp).unlink(missing_ok=True)
    sync_folder(path.parent)
    return int(before - after)


def _writer(file: Any, schema: pa.Schema) -> Any:
    repeated = ("model", "caller", "protocol", "class", "status", "version", "release")
    encodings = {"id": "DELTA_BYTE_ARRAY", "time": "DELTA_BINARY_PACKED", "row": "DELTA_BINARY_PACKED"}
    return pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=list(repeated), column_encoding=encodings)
