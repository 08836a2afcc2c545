"""The prediction log as Arrow tables: what monitoring and labels read. Loads pyarrow, so only in workers.

A table has the fields of docs/reference/prediction-log.md; `inputs` and `outputs` are structs with a field per name. Its
schema's metadata hold the header of its segment.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from serving.prediction_log.lines import BASE, FORMAT
from serving.prediction_log.manifest import Manifest, read_manifest
from serving.prediction_log.segments import OpenLines, Segment, blocks, closed, closed_at, lost_lines, open_segments

HEADER = b"prediction_log"
"""The key of the metadata that hold a header."""
TYPES: dict[str, Any] = {
    "int": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "time": pa.timestamp("ms", "UTC"),
}
ROWS = 65_536
LINE_BYTES = 4 << 20
ALWAYS = ("time", "release")
"""Fields that are read, whatever columns are wanted: lines are chosen by them."""
AHEAD = 2
"""Parts of a segment that are unpacked and parsed before their tables are asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines. None: all."""

    since: datetime | None = None
    """Of this moment, or later."""
    until: datetime | None = None
    """Before it."""
    release: int | None = None
    columns: tuple[str, ...] | None = None
    """Fields at the top, beside those that the others need."""
    live: bool = False
    """Also lines of segments that are being written."""


def read(folder: Path, wanted: Wanted = Wanted()) -> Iterator[pa.Table]:
    """The lines in tables of some ten thousand rows, those of one release at most in each; in the order of the segments,
    with what was compacted before. Lines that are not as the header says are left out; see `left_out`. A line is read once,
    also when its segment is closed, or compacted, meanwhile. Raises Corrupt for the manifest."""
    with open_segments(folder) if wanted.live else nullcontext(list[OpenLines]()) as being_written:
        manifest = read_manifest(folder)
        for path in _parts(folder, manifest, wanted):
            yield from _chosen(_part_tables(path, wanted), wanted)
        segments = closed(folder)
        for segment in segments:
            if manifest.counts(folder, segment.path):  # also one that starts later: a clock may have been set back
                yield from _chosen(segment_tables(segment.path, wanted.columns), wanted)
        known = {each.stem for each in segments}
        for each in being_written:
            if each.stem not in known:
                header, lines = each.read()
                yield from _chosen(_parsed(header, [lines], wanted.columns), wanted)


def left_out(folder: Path, since: datetime, until: datetime) -> int:
    """Lines that cannot be read, of segments that were closed in [since, until): torn, not as their header says, or of
    another version of Trainyard. Each counts once, also when its segment was compacted meanwhile. Raises Corrupt."""
    manifest = read_manifest(folder)
    known = sum(lines for at, lines in manifest.left_out.values() if since.timestamp() <= at < until.timestamp())
    return known + sum(
        _left_out_of(each)
        for each in closed(folder)
        if manifest.counts(folder, each.path) and since.timestamp() <= closed_at(each) < until.timestamp()
    )


def _left_out_of(segment: Segment) -> int:
    return lost_lines(segment, sum(table.num_rows for table in segment_tables(segment.path)))


def segment_tables(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The lines of a closed segment; none when it was removed meanwhile."""
    try:
        parts = blocks(path)
        first = next(parts, b"")
    except FileNotFoundError:
        return
    header, _, rest = first.partition(b"\n")

    def all_parts() -> Iterator[bytes]:
        yield rest
        yield from parts

    yield from _parsed(header, all_parts(), columns)


def schema_of(header: bytes) -> pa.Schema | None:
    """The schema of the lines behind a header; None: it is not one of this format."""
    try:
        facts = json.loads(header)
        if facts["prediction_log"] != FORMAT:
            return None
        fields = [pa.field(name, TYPES[kind]) for name, kind in BASE.items()]
        for side in ("inputs", "outputs"):
            inside = [pa.field(name, _type(each["type"])) for name, each in facts[side].items()]
            fields += [pa.field(side, pa.struct(inside))] if inside else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return pa.schema(fields, metadata={HEADER: header})


def header_of(schema: pa.Schema) -> dict[str, Any]:
    """What the header says: model, version, release, and of each input and output what was kept, and as what type."""
    return dict(json.loads((schema.metadata or {})[HEADER]))


def as_written(value: Any, kind: Any) -> Any:
    """A value of a line, of the type that its header has for it, with the digits of the line: 49.4, which a `float` of 32 bits
    is not exactly."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if kind in {"float", "float[]"} else value
    if isinstance(value, list):
        return [as_written(each, kind) for each in value]
    if isinstance(value, dict) and isinstance(kind, dict):
        return {name: as_written(each, kind.get(name)) for name, each in value.items()}
    return value


def _type(kind: Any) -> pa.DataType:
    if isinstance(kind, dict):
        return pa.struct([pa.field(name, _type(each)) for name, each in kind.items()])
    return pa.list_(TYPES[kind[:-2]]) if kind.endswith("[]") else TYPES[kind]


def _parsed(
    header: bytes, parts: Iterator[bytes] | Sequence[bytes], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Unpacking the next parts and parsing this one take turns in nobody's way: both are done outside of Python's lock."""
    schema = schema_of(header)
    if schema is None:
        return
    if columns is not None:
        needed = {*columns, *ALWAYS}
        schema = pa.schema([each for each in schema if each.name in needed], metadata=schema.metadata)
    parsing: deque[Future[list[pa.Table]]] = deque()
    with ThreadPoolExecutor(1, "prediction-log-lines") as pool:
        for part in parts:
            if part:
                parsing.append(pool.submit(_tables_of, part, schema))
            if len(parsing) > AHEAD:
                yield from parsing.popleft().result()
        while parsing:
            yield from parsing.popleft().result()


def _tables_of(part: bytes, schema: pa.Schema) -> list[pa.Table]:
    try:
        return [_table(part, schema)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return list(_whole_lines(part, schema))


def _table(part: bytes, schema: pa.Schema) -> pa.Table:
    parse = pj.ParseOptions(explicit_schema=schema.remove_metadata(), unexpected_field_behavior="ignore")
    found = pj.read_json(pa.BufferReader(part), pj.ReadOptions(block_size=LINE_BYTES), parse)
    return found.select(schema.names).replace_schema_metadata(schema.metadata)


def _whole_lines(part: bytes, schema: pa.Schema) -> Iterator[pa.Table]:
    """Without those lines of a part that are not JSON, or not of the schema."""
    good = []
    for line in part.splitlines(keepends=True):
        try:
            good.append(_table(line, schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    if good:
        yield pa.concat_tables(good).combine_chunks()


def _parts(folder: Path, manifest: Manifest, wanted: Wanted) -> Iterator[Path]:
    for name in sorted(manifest.parts):
        _, day, release, _ = Path(name).parts
        at = day.removeprefix("day=")
        early = wanted.since is not None and at < wanted.since.date().isoformat()
        late = wanted.until is not None and at > wanted.until.date().isoformat()
        other = wanted.release is not None and release != f"release={wanted.release}"
        if not (early or late or other):
            yield folder / name


def _part_tables(path: Path, wanted: Wanted) -> Iterator[pa.Table]:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:  # too old by now
        return
    with file:
        columns = None
        if wanted.columns is not None:
            needed = {*wanted.columns, *ALWAYS}
            columns = [each for each in file.schema_arrow.names if each in needed]
        groups = _groups(file, wanted)
        for batch in file.iter_batches(ROWS, row_groups=groups, columns=columns) if groups else ():
            yield pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)


def _groups(file: Any, wanted: Wanted) -> list[int]:
    """The row groups that may have lines of the wanted time."""
    facts, found = file.metadata, list[int]()
    place = next((i for i in range(facts.num_columns) if facts.schema.column(i).path == "time"), None)
    since, until = (_milliseconds(each) if each else None for each in (wanted.since, wanted.until))
    for group in range(facts.num_row_groups):
        times = facts.row_group(group).column(place).statistics if place is not None else None
        if times is not None and times.has_min_max:  # as numbers: as times they need pandas
            late = until is not None and times.min_raw >= until
            early = since is not None and times.max_raw < since
            if late or early:
                continue
        found.append(group)
    return found


def _chosen(tables: Iterator[pa.Table], wanted: Wanted) -> Iterator[pa.Table]:
    for table in tables:
        found = table
        if wanted.release is not None:
            found = found.filter(pc.equal(found["release"], wanted.release))
        if wanted.since is not None:
            found = found.filter(pc.greater_equal(found["time"], _moment(wanted.since)))
        if wanted.until is not None:
            found = found.filter(pc.less(found["time"], _moment(wanted.until)))
        if wanted.columns is not None:
            found = found.select([each for each in found.schema.names if each in wanted.columns])
        if found.num_rows:
            yield found


def _moment(time: datetime) -> Any:
    """As Arrow has it; from a number, as from a datetime it would need pandas."""
    return pa.scalar(_milliseconds(time), TYPES["time"])


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
