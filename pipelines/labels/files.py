"""Labels in files: CSV, JSON Lines, and what Label Studio exports. Read one at a time, each with its place."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, TextIO

from registry.dataclass import dataclass
from registry.errors import ConfigError
from serving.feedback.items import FIELDS

KINDS = (".csv", ".jsonl", ".json")
COLUMNS = (*FIELDS, "source")
"""Of an export; an import may have any of them, and takes no notice of `source`."""
CHUNK = 1 << 16
MOST_TASK = 64 << 20
"""Characters of one task: images are in it."""
MOST_LINE = 1 << 20
BOOLS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line, or one annotation, says: a report as `POST /feedback` takes it, or what is wrong with it."""

    line: int
    found: Any = None
    problem: str = ""
    is_task: bool = False
    """It was in the review queue."""


def read_entries(path: Path) -> Iterator[Entry]:
    """All that is in the file. Raises ConfigError for one that cannot be read at all."""
    read: Callable[[TextIO], Iterator[Entry]] | None = {".csv": _csv, ".jsonl": _lines, ".json": _tasks}.get(
        path.suffix.lower()
    )
    if read is None:
        raise ConfigError(f"{path}: neither CSV nor JSON", hint=f"name a file that ends in {', '.join(KINDS)}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from read(file)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8: {error.reason} at byte {error.start}", hint="save it as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a file that can be read") from None
    except _UnusableError as error:
        raise ConfigError(f"{path}: {error}", hint=error.hint) from None


class _UnusableError(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _csv(file: TextIO) -> Iterator[Entry]:
    rows = csv.reader(file, strict=True)
    try:
        names = [each.strip() for each in next(rows, [])]
        unknown = [each for each in names if each not in COLUMNS]
        if "request_id" not in names or unknown or len(set(names)) < len(names):
            raise _UnusableError(
                f"line 1: {', '.join(names)[:200] or 'is empty'}: not the columns of labels",
                f"a line with request_id and others of {', '.join(FIELDS)}",
            )
        for row in rows:
            if row:
                yield _csv_row(rows.line_num, names, row)
    except csv.Error as error:
        raise _UnusableError(f"line {rows.line_num}: {error}", "it is not CSV from there on") from None


def _csv_row(line: int, names: list[str], row: list[str]) -> Entry:
    if len(row) != len(names):
        return Entry(line, problem=f"{len(row)} cells, the first line has {len(names)}")
    found: dict[str, Any] = {name: cell.strip() for name, cell in zip(names, row, strict=True) if cell.strip()}
    found.pop("source", None)
    if "correct" in found:
        found["correct"] = BOOLS.get(found["correct"].lower(), found["correct"])
    for name, kind in (("row", int), ("sure", float)):
        if name in found:
            try:
                found[name] = kind(found[name])
            except ValueError:
                return Entry(line, problem=f"{name}: {found[name][:60]!r} is not a number")
    return Entry(line, found)


def _lines(file: TextIO) -> Iterator[Entry]:
    number = 0
    while text := file.readline(MOST_LINE):
        number += 1
        if len(text) == MOST_LINE:
            raise _UnusableError(f"line {number}: longer than {MOST_LINE} characters", "one object per line")
        if text.strip():
            try:
                yield Entry(number, _without_source(json.loads(text)))
            except (JSONDecodeError, RecursionError) as error:
                yield Entry(number, problem=f"is not JSON: {str(error)[:100]}")


def _without_source(found: Any) -> Any:
    return {key: value for key, value in found.items() if key != "source"} if isinstance(found, dict) else found


def _tasks(file: TextIO) -> Iterator[Entry]:
    for line, found in _elements(file):
        if isinstance(found, dict) and "annotations" in found:
            yield from _annotations(line, found)
        else:
            yield Entry(line, _without_source(found))


def _elements(file: TextIO) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list, one at a time, each with the line on which it begins."""
    text, line, decode = _Text(file), 1, JSONDecoder().raw_decode
    if text.skip() != "[":
        raise _UnusableError(
            "is not a list", "export JSON from Label Studio; objects one per line belong into a .jsonl file"
        )
    text.take(1)
    more = text.skip() != "]"
    while more:
        line = text.line
        size = CHUNK
        while True:
            try:
                found, end = decode(text.ahead)
                if end < len(text.ahead) or text.ended:  # a number could continue
                    break
            except (JSONDecodeError, RecursionError) as error:
                if text.ended or len(text.ahead) > MOST_TASK or isinstance(error, RecursionError):
                    raise _UnusableError(f"line {line}: is not JSON, or ends early: {str(error)[:100]}", HINT) from None
            text.read(size)
            size *= 2
        text.take(end)
        yield line, found
        sign = text.skip()
        if sign not in {",", "]"}:
            raise _UnusableError(f"line {text.line}: {sign!r} where a comma was expected", HINT)
        more = sign == ","
        text.take(1)
        text.skip()


HINT = "it was cut off, or changed: export it again"


class _Text:
    """What is ahead in a file, as far as it was read."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.ahead, self.line, self.ended = "", 1, False

    def read(self, size: int) -> None:
        part = self._file.read(size)
        self.ended = not part
        self.ahead += part

    def take(self, count: int) -> None:
        self.line += self.ahead.count("\n", 0, count)
        self.ahead = self.ahead[count:]

    def skip(self) -> str:
        """Over white space; the next character, or nothing at the end."""
        while not self.ended:
            self.take(len(self.ahead) - len(self.ahead.lstrip()))
            if self.ahead:
                return self.ahead[0]
            self.read(CHUNK)
        return self.ahead[:1]


def _annotations(line: int, task: dict[str, Any]) -> Iterator[Entry]:
    """What the people say who were given a task: each alone, so that whoever counts them finds a majority, or a tie."""
    data, found = task.get("data"), task["annotations"]
    identity = data.get("trainyard_id") if isinstance(data, dict) else None
    request, sign, row = identity.rpartition("/") if isinstance(identity, str) else ("", "", "")
    if not sign or not row.isdecimal():
        yield Entry(line, problem=f"data.trainyard_id: {identity!r:.80} is not that of one of our tasks")
    elif not isinstance(found, list):
        yield Entry(line, problem="annotations: is not a list")
    else:
        for each in found:
            if not (isinstance(each, dict) and each.get("was_cancelled")):
                yield _annotation(line, {"request_id": request, "row": int(row)}, each)


def _annotation(line: int, base: dict[str, Any], found: Any) -> Entry:
    try:
        labels = [each for each in map(_result, found["result"]) if each is not None]
        by, at = found.get("completed_by"), found.get("updated_at") or found.get("created_at")
    except (TypeError, KeyError, IndexError, AttributeError):
        return Entry(line, problem="annotations: not as Label Studio writes them")
    if len(labels) != 1:
        return Entry(
            line, problem=f"annotations: {len(labels)} labels for one answer; one choice, or one number, is expected"
        )
    said: dict[str, Any] = base | {"label": labels[0]}
    if by := _person(by):
        said["by"] = by
    return Entry(line, said | {"at": at} if at else said, is_task=True)


def _result(result: dict[str, Any]) -> Any:
    """The label in one part of an annotation; None: the part is about something else."""
    value = result["value"]
    if result["type"] == "choices":
        choices = value["choices"]
        return choices[0] if len(choices) == 1 else [*choices]
    return value["number"] if result["type"] == "number" else None


def _person(found: Any) -> str:
    """Label Studio says a number, or an object with a mail address."""
    if isinstance(found, dict):
        return str(found.get("email") or found.get("username") or _person(found.get("id")))
    return f"annotator {found}" if isinstance(found, int | str) and found else ""
