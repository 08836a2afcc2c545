"""What a table says about the split of its rows: in columns, or in a file beside it that goes by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from training.data import said
from training.data.checks import SIDES, Checks, SampleList
from training.data.dataset_toml import DatasetFile, Table
from training.data.table.columns import THERE, ColumnReader
from training.data.table.read import Rows
from training.data.times import WRITE, Kind, Times

STRATA = "every sample has a stratum"


@dataclass(slots=True)
class RowRule:
    """What is said of each row, of the files as they are."""

    said: list[str] = field(default_factory=list)
    times: Times | None = None
    strata: list[str] = field(default_factory=list)

    def put(self, samples: SampleList, kept: Sequence[int]) -> None:
        """Into the samples that these rows are."""
        samples.said = [self.said[row] for row in kept] if self.said else []
        samples.strata = [self.strata[row] for row in kept] if self.strata else []
        if self.times:
            samples.times = Times(self.times.kind, tuple(self.times.values[row] for row in kept))


def read_rule(rows: Rows, where: tuple[Path, DatasetFile], names: Sequence[str], checks: Checks) -> RowRule:
    """What the columns or the file of `[split]` say; what is wrong with them goes to `checks`. `where`: the repository and its
    `dataset.toml`; `names`: what each row is called."""
    repository, settings = where
    rule, table, found = settings.rule, settings.source, RowRule()
    assert isinstance(table, Table)
    reader = ColumnReader(rows, table, checks)
    stratum = rule.stratify if isinstance(rule.stratify, str) else ""
    wanted = {"column": rule.column, "time": rule.time, "stratify": stratum}
    for setting, name in wanted.items():
        if name and name not in rows.columns:
            message = f"[split] {setting}: there is no column {reader.suggest(name)}"
            checks.fail(THERE, message, "put the column into the table, or correct dataset.toml")
            return found
    if rule.column:
        found.said = reader.texts(rule.column, SIDES)
    elif rule.file and not checks.failed and len(set(names)) == len(names):
        read = said.read(repository, rule.file, "[split] file", ("split",), names, checks)
        found.said = read.of("split") if read else []
    if stratum:
        found.strata = reader.texts(stratum, STRATA)
    if rule.time:
        found.times = _times(reader, rows, rule.time, checks)
    return found


def _times(reader: ColumnReader, rows: Rows, name: str, checks: Checks) -> Times | None:
    checks.make(SIDES)
    column = reader.column(name)
    if column is None:
        return None
    if column.null_count or pa.types.is_string(column.type):
        return said.read_times(
            ["" if each is None else str(each) for each in column.to_pylist()], name, rows.where, checks
        )
    if (stored := _stored(column)) is None:
        message = f"[split] time: column {name!r} holds values of type {column.type}, not times"
        checks.fail(SIDES, message, WRITE, len(column))
        return None
    kind, values = stored
    return Times(kind, tuple(values))


def _stored(column: Any) -> tuple[Kind, list[float]] | None:
    """What Parquet has as numbers, days or moments; None: anything else."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = column.cast(pa.float64(), safe=False).to_pylist()
        return ("number", values) if all(abs(each) < float("inf") for each in values) else None
    if pa.types.is_date(kind):
        days = column.cast(pa.date32()).cast(pa.int32()).to_pylist()
        return "date", [each * 86400.0 for each in days]
    if pa.types.is_timestamp(kind):
        micros = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()
        return ("zoned" if kind.tz else "time"), [each / 1e6 for each in micros]
    return None
