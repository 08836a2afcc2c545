"""Rows of a table: in a new file, where a pattern of `[table] file` takes one in, or behind those of the last file. Loads pyarrow."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipelines.workers.label_files.sample import (
    ADD_ROWS,
    ONE_NUMBER,
    Labelled,
    Part,
    Parts,
    Unusable,
    new_name,
    no_class,
    value_of,
)
from pipelines.workers.label_files.split import moment, moment_as, said_parts, train_word
from registry.errors import ConfigError
from registry.spelling import by_spelling, spelling
from training.data import dates
from training.data.checks import Checks, as_text
from training.data.dataset_toml import DatasetFile, Table
from training.data.split_toml import SplitRule
from training.data.table import csv_file, json_lines, packed, workbook
from training.data.table.dialect import Dialect
from training.data.table.read import PARQUET, Rows, read_rows
from training.data.times import kind_of

WORKBOOK = (
    "put one row into a CSV file beside it, and let [table] file take both in, the one with a pattern first: "
    'file = ["labelled-*.csv", "data.xlsx"]'
)


def add(repository: Path, settings: DatasetFile, rows: Sequence[Labelled], stamp: str, made: Parts) -> None:
    """Write them as the rows that are there; raises ConfigError when those cannot be read."""
    table = settings.source
    assert isinstance(table, Table)
    if table.targets:
        raise ConfigError(f"[table] targets: {ONE_NUMBER}", hint=ADD_ROWS)
    checks = Checks()
    there = read_rows(repository, table, checks)
    if there is None or checks.failed:
        failed = "; ".join(map(as_text, checks.failed)) or "no rows"
        raise ConfigError(f"the dataset cannot be read: {failed:.1000}", hint="correct it, commit and push first")
    columns = _Columns(there, table, settings.rule)
    records = []
    for each in rows:
        try:
            records.append((each, columns.record(each)))
        except Unusable as error:
            made.left_out.append((each, str(error)))
    if records:
        taken = tuple(each for each, _ in records)
        file, data = _table_file(repository, table, there, [record for _, record in records], stamp)
        made.files.append(Part(file, data, taken))
        made.files += said_parts(repository, settings.rule, [(each.key, each) for each in taken], images=False)


class _Columns:
    """How a row of a table is written, going by those that are there."""

    def __init__(self, rows: Rows, table: Table, rule: SplitRule) -> None:
        self._rule = rule
        self._table, self._names = table, [name for name in rows.columns if name not in rows.index]
        self._rows = rows
        self._kinds = {name: rows.column(name).type for name in self._names}
        self._known: dict[str, dict[str, str]] = {}

    def record(self, each: Labelled) -> dict[str, Any]:
        """Column → value, of the column's kind; None where a column has none. Raises Unusable."""
        table = self._table
        found: dict[str, Any] = {
            name: self._of(name, value_of(each, name, may_miss=table.missing in {"keep", "impute"}))
            for name in self._names
            if name not in table.hidden
        }
        found |= {name: each.key for name in (table.key, table.group) if name}
        if self._rule.column:
            found[self._rule.column] = train_word(self._texts(self._rule.column).values())
        if self._rule.time and self._rule.time not in found:
            found[self._rule.time] = self._moment(each, self._rule.time)
        label: Any = each.label
        if table.task == "regression":
            try:
                label = float(each.label)
            except ValueError:
                raise Unusable(f"its label {each.label!r:.80} is not a number") from None
        elif spelling(each.label) not in self._texts(table.target):
            raise Unusable(no_class(each.label))
        return {**found, table.target: self._of(table.target, label)}

    def _moment(self, each: Labelled, name: str) -> Any:
        kind = self._kinds[name]
        if pa.types.is_timestamp(kind):
            return moment_as(each, "zoned" if kind.tz else "time", name)
        if pa.types.is_date(kind):
            return moment_as(each, "date", name).date()
        texts = self._rows.as_written(name).drop_null()
        return moment(each, kind_of(texts[0].as_py()) if len(texts) else "number", name)

    def _of(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        kind = self._kinds[name]
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return self._stored_date(name, str(value))
        if pa.types.is_integer(kind):
            return _whole(name, value)
        if pa.types.is_boolean(kind) or isinstance(value, bool):
            return self._spelt(name, str(value).lower())
        if pa.types.is_floating(kind):
            try:
                return float(value)
            except (TypeError, ValueError):
                raise Unusable(f"its {name!r} is {value!r:.80}, and the dataset's are numbers") from None
        return self._spelt(name, str(value))

    def _stored_date(self, name: str, text: str) -> Any:
        """What a request had as text, as Parquet stores dates."""
        kind = self._kinds[name]
        try:
            when = dates.parse(text)
        except ValueError:
            raise Unusable(f"its {name!r} is {text!r:.80}, and the dataset's are dates") from None
        if pa.types.is_date(kind):
            return when.date()
        return when.replace(tzinfo=UTC) if kind.tz else when

    def _spelt(self, name: str, text: str) -> str:
        """As the files write the same value."""
        return self._texts(name).get(spelling(text), text)

    def _texts(self, name: str) -> dict[str, str]:
        """Spelling → text, of the values of a column."""
        if name not in self._known:
            self._known[name] = by_spelling(self._rows.as_written(name).unique().drop_null().to_pylist())
        return self._known[name]


def _whole(name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer():
        raise Unusable(f"its {name!r} is {value!r:.80}, and the dataset's are whole numbers")
    return int(number)


def _table_file(
    repository: Path, table: Table, there: Rows, records: Sequence[Mapping[str, Any]], stamp: str
) -> tuple[str, bytes]:
    """Name and bytes of a new file, where a pattern of `[table] file` takes one in, or of the last file with the records behind."""
    part = there.parts[-1]
    new = new_name(table.file, stamp)
    if new is None and Path(part.name).suffix.lower() in PARQUET:
        rows = pa.concat_tables([part.rows, _arrow(records, part.rows.schema)])
        return part.name, _parquet(rows)
    if new is None and packed.ending(part.name) in json_lines.ENDINGS:
        there_already = bytes(memoryview(packed.read(repository / part.name)))
        end = b"" if there_already.endswith(b"\n") else b"\n"
        lines = json_lines.text(_arrow(records, part.rows.schema))
        return part.name, packed.pack(part.name, there_already + end + lines)
    if packed.ending(new or part.name) in workbook.ENDINGS:
        raise ConfigError(f"{new or part.name}: labels are not written into workbooks", hint=WORKBOOK)
    if new is None:
        assert part.dialect is not None
        before = bytes(memoryview(packed.read(repository / part.name)))
        data = _behind(before, part.rows.column_names, part.dialect, records, table)
        return part.name, packed.pack(part.name, data)
    if Path(new).suffix.lower() in PARQUET:
        like = next((each for each in there.parts if not each.dialect), None)
        if like is None:
            raise ConfigError(f"{new}: the dataset has no Parquet file whose types it could have", hint="add one first")
        return new, _parquet(_arrow(records, like.rows.schema))
    if packed.ending(new) in json_lines.ENDINGS:
        like = next(each for each in reversed(there.parts) if packed.ending(each.name) in json_lines.ENDINGS)
        return new, packed.pack(new, json_lines.text(_arrow(records, like.rows.schema)))
    dialect = part.dialect or Dialect(
        table.delimiter or csv_file.ENDINGS[packed.ending(new)],
        table.encoding or "utf-8",
        "\n" * table.skip_rows,
        quote=table.quote,
        comment=table.comment,
    )
    return new, packed.pack(new, _text(there.columns, dialect, records, table, head=True))


def _arrow(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    arrays = []
    for kind in schema:
        values = [record.get(kind.name) for record in records]
        plain = kind.type.value_type if pa.types.is_dictionary(kind.type) else kind.type
        if pa.types.is_boolean(plain):
            values = [None if each is None else str(each).lower() == "true" for each in values]
        elif pa.types.is_decimal(plain):
            values = [None if each is None else str(each) for each in values]
            arrays.append(pa.array(values, pa.string()).cast(plain))
            continue
        arrays.append(pa.array(values, plain).cast(kind.type))
    return pa.table(arrays, schema=schema)


def _parquet(rows: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(rows, file)
    return file.getvalue()


def _behind(
    before: bytes, names: Sequence[str], dialect: Dialect, records: Sequence[Mapping[str, Any]], table: Table
) -> bytes:
    """A text file with the records behind its last line; what is there stays, byte for byte."""
    new = _text(names, dialect, records, table, head=False)
    end = (
        "\n".encode(dialect.encoding).removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").removeprefix(b"\xef\xbb\xbf")
    )
    if dialect.encoding == "utf-16" and before.startswith(b"\xfe\xff"):
        new, end = new.decode("utf-16-le").encode("utf-16-be"), b"\0\n"
    carriage = end.replace(b"\n", b"\r")
    if carriage + end in before:
        new = new.replace(end, carriage + end)
        end = carriage + end
    return before + (b"" if before.endswith(end) else end) + new


def _text(
    names: Sequence[str], dialect: Dialect, records: Sequence[Mapping[str, Any]], table: Table, *, head: bool
) -> bytes:
    """Records as lines; without a head also without a byte order mark."""
    columns = [pa.array([_field(record.get(name), table) for record in records], pa.string()) for name in names]
    rows = pa.table(columns, names=list(names))
    text = csv_file.text(rows, dialect)
    if head:
        return text.encode(dialect.encoding)
    text = text.removeprefix(dialect.first_line).removeprefix(csv_file.header_text(list(names), dialect))
    encoding = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(
        dialect.encoding, dialect.encoding
    )
    return text.encode(encoding)


def _field(value: Any, table: Table) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        shown = repr(value)
        return shown.replace(".", table.decimal) if table.decimal != "." else shown
    return str(value)
