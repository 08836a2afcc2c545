"""A CSV file of the dataset that says something about each sample by its name: its split, or when it was made."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from registry.spelling import shown
from training.data.checks import SHOWN, SIDES, Checks
from training.data.files import FILES, find_files
from training.data.times import WRITE, NotTimesError, Times, parse

NAME = "name"
MAX_BYTES = 512 << 20


class _Reader(Protocol):
    """Of `csv`."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


@dataclass(slots=True)
class Said:
    """Column → what it says of each sample, in the order that was asked for; empty where a sample is not in the file."""

    columns: dict[str, list[str]] = field(default_factory=dict)

    def of(self, column: str) -> list[str]:
        """One text per sample; empty when the file has no such column."""
        return self.columns.get(column, [])


def read(
    repository: Path, file: str, setting: str, wanted: Sequence[str], names: Sequence[str], checks: Checks
) -> Said | None:
    """What the file says; None when it cannot be used, which goes to `checks`. It must have the columns `name` and `wanted`."""
    if not find_files(repository, [file], setting, checks):
        return None
    path = repository / file
    if path.stat().st_size > MAX_BYTES:
        checks.fail(FILES, f"{file} is larger than {MAX_BYTES >> 20} MB", f"keep only {NAME} and {wanted[0]} in it")
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            return _read(csv.reader(opened, strict=True), (file, setting), wanted, names, checks)
    except UnicodeDecodeError as error:
        checks.fail(FILES, f"{file} is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8")
    except csv.Error as error:
        checks.fail(FILES, f"{file} is not CSV: {error}", "correct it, or write it with a program that writes CSV")
    return None


def read_times(texts: Sequence[str], name: str, called: Callable[[int], str], checks: Checks) -> Times | None:
    """What `[split] time = name` says of each sample; None where a time is missing or cannot be read, which goes to `checks`."""
    checks.make(SIDES)
    if missing := [i for i, text in enumerate(texts) if not text.strip()]:
        message = f"[split] time: {name!r} is missing in {len(missing):,} samples, the first: {called(missing[0])}"
        checks.fail(SIDES, message, "fill it in, or delete the samples", len(missing))
        return None
    try:
        return parse(texts)
    except NotTimesError as error:
        message = f"[split] time: {name!r} in {called(error.index)}: {error} ({error.count:,} in all)"
        checks.fail(SIDES, message, WRITE, error.count)
        return None


def _read(
    rows: _Reader, called: tuple[str, str], wanted: Sequence[str], names: Sequence[str], checks: Checks
) -> Said | None:
    file, setting = called
    head = [each.strip() for each in next(rows, [])]
    if lacking := [each for each in (NAME, *wanted) if head.count(each) != 1]:
        message = f"{setting}: {file} has the columns {', '.join(map(repr, head[:SHOWN]))}, and not {lacking[0]!r} once"
        checks.fail(FILES, message, f"its first line is {','.join((NAME, *wanted))}")
        return None
    numbers = dict(zip(names, range(len(names)), strict=True))
    said = Said({each: [""] * len(names) for each in head if each != NAME})
    seen, strange = dict[str, int](), list[str]()
    for row in rows:
        line = rows.line_num
        if not row:
            continue
        if len(row) != len(head):
            checks.fail(FILES, f"{file} line {line} has {len(row)} fields, and {len(head)} columns", "correct the line")
            continue
        name = row[head.index(NAME)]
        if (before := seen.setdefault(name, line)) != line:
            checks.fail(
                FILES, f"{file} names {shown(name)[0]} in line {before} and in line {line}", "delete one of them"
            )
        elif name not in numbers:
            strange.append(name)
        else:
            for column, text in zip(head, row, strict=True):
                if column != NAME:
                    said.columns[column][numbers[name]] = text.strip()
    if strange:
        checks.note(f"{file}: {len(strange):,} names are those of no sample (e.g. {strange[0]!r:.120})")
    return said
