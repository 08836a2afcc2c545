"""The prediction log in windows: which there are, and what one holds. Loads pyarrow.

Windows are read in two passes. The first reads four columns, to cut; the second what is to be checked, window by window, so that
memory is bounded by a window and not by how long nobody has looked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retraining.monitoring.drift import Column
from retraining.monitoring.names import LogField, log_fields
from retraining.monitoring.sketches import Categories, Floats, Numbers
from retraining.monitoring.windows import NOTHING, Cut, Lines
from serving.prediction_log.tables import Wanted, header_of, read

MOST_ROWS = 200_000
"""Of a window whose columns are compared; of more, every second, third, … is."""
MOST_VALUES = 20_000_000
"""Numbers that are in memory at once, with many columns: 160 MB."""
SERVER_ERROR = 500
LIGHT = ("time", "release", "status", "row")
NEEDED = (*LIGHT, "ms", "class", "confidence", "inputs", "outputs")
BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=31))
Known = Mapping[str, Numbers | Categories]


@dataclass(slots=True)
class WindowLines:
    """What one window holds; filled table by table."""

    cut: Cut
    stride: int = 1
    """Every how-manyth row is kept."""
    rows: int = 0
    others: int = 0
    """Rows of other releases."""
    refused: int = 0
    errors: int = 0
    """Requests that ended with 5xx."""
    requests: int = 0
    milliseconds: list[Floats] = field(default_factory=list)
    kept_rows: int = 0
    numbers: dict[str, list[Floats]] = field(default_factory=dict)
    counts: dict[str, Counter[str | None]] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)
    """Inputs and outputs that the log has."""
    hashed: set[str] = field(default_factory=set)
    """Inputs and outputs of which the log has a keyed hash only."""
    new: set[str] = field(default_factory=set)
    """Fields that the reference does not have."""
    other_type: set[str] = field(default_factory=set)
    """Columns that are numbers in one of the two, and categories in the other."""

    @property
    def lines(self) -> int:
        """All that could be read."""
        return self.rows + self.others + self.refused

    def columns(self) -> dict[str, Column]:
        """Of the kept rows: those that the reference has, too."""
        found: dict[str, Column] = {
            name: _padded(np.concatenate(parts), self.kept_rows) for name, parts in self.numbers.items()
        }
        for name, counts in self.counts.items():
            named = {value: count for value, count in counts.items() if value is not None}
            found[name] = Categories(self.kept_rows - sum(named.values()), named)
        return found


def light_lines(folder: Path, since: datetime, until: datetime | None = None) -> Lines:
    """Of every line in [since, until): when it was, and of which release."""
    times, releases, rows = list[Any](), list[Any](), list[Any]()
    for table in read(folder, Wanted(since, until, columns=LIGHT, live=True)):
        times.append(_integers(table["time"].cast(pa.int64())))
        releases.append(_integers(table["release"]))
        rows.append(pc.is_valid(table["row"]).to_numpy())
    if not times:
        return Lines.of([], [], [])
    return Lines.of(np.concatenate(times), np.concatenate(releases), np.concatenate(rows))


def last_before(folder: Path, moment: datetime) -> int:
    """When the last line before a moment was, in milliseconds since 1970; NOTHING: there is none of the last month."""
    for back in BACK:
        wanted = Wanted(since=moment - back, until=moment, columns=("time",), live=True)
        found = [pc.max(table["time"].cast(pa.int64())).as_py() for table in read(folder, wanted)]
        if found:
            return int(max(found))
    return NOTHING


def read_windows(folder: Path, cuts: Sequence[Cut], lines: Lines, known: Mapping[int, Known]) -> Iterator[WindowLines]:
    """What each window holds, in their order. `known`: release → the columns of its reference, without those that are ignored."""
    for some in _chunks(cuts, lines, known):
        wanted = Wanted(moment(some[0].cut.since), moment(some[-1].cut.until), columns=NEEDED, live=True)
        edges = np.array([*(each.cut.since for each in some), some[-1].cut.until])
        for table in read(folder, wanted):
            times = _integers(table["time"].cast(pa.int64()))
            places = np.searchsorted(edges, times, side="right") - 1
            for place in np.unique(places).tolist():
                window = some[place]
                part = table if (places == place).all() else table.filter(pa.array(places == place))
                _add(window, part, known.get(window.cut.release, {}))
        yield from some


def moment(milliseconds: int) -> datetime:
    """UTC."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC) + timedelta(milliseconds=milliseconds % 1000)


def _chunks(cuts: Sequence[Cut], lines: Lines, known: Mapping[int, Known]) -> Iterator[list[WindowLines]]:
    """Windows that are read together, as many as fit into memory."""
    some, size = list[WindowLines](), 0
    for each in cuts:
        first, last = np.searchsorted(lines.times, [each.since, each.until])
        columns = max(len(known.get(each.release, {})), 1)
        most = max(min(MOST_ROWS, MOST_VALUES // columns), 1)
        stride = max(1, -(-int(last - first) // most))
        values = int(last - first) // stride * columns
        if some and size + values > MOST_VALUES // 2:
            yield some
            some, size = [], 0
        some.append(WindowLines(each, stride))
        size += values
    if some:
        yield some


def _add(window: WindowLines, table: pa.Table, known: Known) -> None:
    """Count the lines of a table, which lie in the window, and keep the columns of its rows."""
    is_row = pc.is_valid(table["row"])
    is_own = pc.fill_null(pc.equal(table["release"], window.cut.release), fill_value=False)
    own = pc.and_(is_row, is_own)
    rows, owned = int(pc.sum(is_row).as_py()), int(pc.sum(own).as_py())
    window.others += rows - owned
    window.refused += table.num_rows - rows
    status = pc.fill_null(pc.greater_equal(table["status"], SERVER_ERROR), fill_value=False)
    first = pc.fill_null(pc.equal(table["row"], 0), fill_value=False)
    request = pc.or_(first, pc.invert(is_row))
    window.requests += int(pc.sum(request).as_py())
    window.errors += int(pc.sum(pc.and_(status, request)).as_py())
    window.milliseconds.append(_floats(table["ms"].filter(first)))
    start = -window.rows % window.stride
    window.rows += owned
    answered = table if owned == table.num_rows else table.filter(own)
    if window.stride > 1:
        answered = answered.take(pa.array(np.arange(start, owned, window.stride)))
    if answered.num_rows:
        _keep(window, answered.combine_chunks(), known)
        window.kept_rows += answered.num_rows


def _keep(window: WindowLines, table: pa.Table, known: Known) -> None:
    header = header_of(table.schema)
    for side in ("inputs", "outputs"):
        window.fields |= {f"{side}.{name}" for name in header[side]}
        window.hashed |= {f"{side}.{name}" for name, facts in header[side].items() if facts["kept"] == "hash"}
    for each in log_fields(header):
        columns = list(each.columns(known))
        if not columns:
            if len(each.path) > 1 or table[each.path[0]].null_count < table.num_rows:
                window.new.add(each.name)
            continue
        values = _values(table, each)
        lists = _Lists.of(values) if each.is_list and each.kind == "numbers" else None
        for name, place in columns:
            numeric = isinstance(known[name], Numbers)
            if numeric != (each.kind == "numbers"):
                window.other_type.add(name)
            elif numeric:
                padded = window.numbers.setdefault(name, [np.full(window.kept_rows, np.nan)])
                padded.append(_floats(values) if lists is None or place is None else lists.at(place))
            else:
                counts = window.counts.setdefault(name, Counter())
                counts.update(_counted(values if place is None else pc.list_element(_long(values, place), place)))


def _values(table: pa.Table, wanted: LogField) -> pa.Array:
    """The field's array, without chunks."""
    array = table[wanted.path[0]].combine_chunks()
    for key in wanted.path[1:]:
        array = pc.struct_field(array, [array.type.get_field_index(key)])
    return array


@dataclass(frozen=True, slots=True)
class _Lists:
    """A column of lists of numbers, behind each other."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    flat: Floats

    @staticmethod
    def of(values: pa.Array) -> _Lists:
        lengths = _integers(pc.list_value_length(values))
        return _Lists(values.offsets.to_numpy()[:-1].astype(np.int64), lengths, _floats(values.values))

    def at(self, place: int) -> Floats:
        """One place of them, NaN where a list is shorter."""
        if not len(self.flat):
            return np.full(len(self.starts), np.nan)
        return np.where(self.lengths > place, self.flat[(self.starts + place).clip(max=len(self.flat) - 1)], np.nan)


def _long(values: pa.Array, place: int) -> pa.Array:
    """Null where a list is too short for a place."""
    enough = pc.fill_null(pc.greater(pc.list_value_length(values), place), fill_value=False)
    return pc.if_else(enough, values, pa.scalar([None] * (place + 1), values.type))


def _counted(values: pa.Array) -> dict[str | None, int]:
    found = pc.value_counts(values.cast(pa.string()))
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _floats(values: Any) -> Floats:
    """As float64, NaN for null."""
    found = values.cast(pa.float64()).to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else None
    return np.asarray(values.cast(pa.float64()).to_numpy() if found is None else found, dtype=np.float64)


def _integers(values: Any) -> NDArray[np.int64]:
    """0 for null."""
    filled = pc.fill_null(values.cast(pa.int64()), 0)
    array = filled.to_numpy() if isinstance(filled, pa.ChunkedArray) else filled.to_numpy(zero_copy_only=False)
    return np.asarray(array, dtype=np.int64)


def _padded(values: Floats, rows: int) -> Floats:
    """With NaN for rows of tables that do not have the column."""
    return values if len(values) == rows else np.concatenate([values, np.full(rows - len(values), np.nan)])
