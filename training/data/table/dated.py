"""Columns of dates: their texts, or what Parquet and workbooks store; and what is said of a text that is not a date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from registry.records import DateColumn
from training.data import dates
from training.data.table.dialect import form, quoted
from training.data.table.read import Rows
from training.data.table.slips import SHOWN, Slip


def texts_of(column: Any, written: str) -> list[str | None] | None:
    """The text of each row, None where it is missing; of stored dates in ISO 8601. None: the column holds something else, or
    `written` says how texts are written, and there are none."""
    kind = column.type
    if pa.types.is_string(kind):
        return column.to_pylist()  # type: ignore[no-any-return]
    if written or not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return None
    zone = "+00:00" if pa.types.is_timestamp(kind) and kind.tz else ""
    if pa.types.is_date(kind):
        days = column.cast(pa.date32()).cast(pa.int32()).to_pylist()
        return [None if each is None else (dates.EPOCH + timedelta(days=each)).date().isoformat() for each in days]
    micros = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()
    return [
        None if each is None else (dates.EPOCH + timedelta(microseconds=each)).isoformat() + zone for each in micros
    ]


def unreadable(texts: Sequence[str | None], rule: DateColumn, rows: Rows) -> Slip | None:
    """What is wrong with a column in which some texts are not dates."""
    there = [each for each in dict.fromkeys(texts) if each]
    wrong = {each for each in there if not dates.is_date(each, rule.written)}
    if not wrong:
        return None
    places = [i for i, each in enumerate(texts) if each in wrong]
    first = texts[places[0]] or ""
    several = f" (the first of {len(places):,} such rows)" if len(places) > 1 else ""
    message = f"column {rule.name!r} holds a text like {form(first)!r} in {rows.where(places[0])}{several}"
    ways = [*(dates.guessed(there) if len(wrong) > len(there) / 2 else []), *([""] * bool(rule.written))]
    ways = [each for each in ways if all(dates.is_date(text, each) for text in there)]
    hint = "correct the dates, or say how they are written: date_format under [table] in dataset.toml, as Python's strptime has it"
    if ways == [""]:
        hint = "leave date_format out: they are written as ISO 8601 says"
    elif ways:
        lines = ", or ".join(f"date_format = {quoted(each)}" for each in ways[:SHOWN] if each)
        hint = f"write {lines}{' (as they mean)' if len(ways) > 1 else ''} under [table] in dataset.toml"
    return Slip(f"{message}, which is not a date {dates.in_words(rule.written)}", hint, len(places))
