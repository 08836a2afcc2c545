"""What new samples say about their split, where `dataset.toml` has the samples say it: they were made when they were asked about, and
are for training; the holdout that somebody has chosen stays as it is. Loads neither NumPy nor pyarrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pipelines.workers.label_files.sample import Labelled, Part, Unusable
from registry.errors import ConfigError
from registry.spelling import spelling
from training.data.said import NAME
from training.data.sides import WORDS
from training.data.split_toml import SplitRule
from training.data.times import Kind, kind_of

BY_HAND = "add the samples by hand: `trainyard labels export` has the labels"


def train_word(used: Iterable[str]) -> str:
    """What a dataset that says each sample's split writes for train."""
    return next((text for text in used if WORDS.get(spelling(text).lower()) == "train"), "train")


def moment(each: Labelled, kind: Kind, name: str) -> str:
    """When an instance was answered, as the dataset writes its times. Raises Unusable, and ConfigError for plain numbers."""
    if kind == "number":
        raise ConfigError(
            f"[split] time: {name!r} holds numbers, and nothing says what they count, so that no label can become a sample",
            hint=f"store dates or times (ISO 8601) there; or {BY_HAND}",
        )
    if each.at is None:
        raise Unusable("the prediction log does not say when it was answered")
    if kind == "date":
        return each.at.date().isoformat()
    return (each.at if kind == "zoned" else each.at.replace(tzinfo=None)).isoformat(timespec="seconds")


def moment_as(each: Labelled, kind: Kind, name: str) -> datetime:
    """As `moment`, not as text."""
    return datetime.fromisoformat(moment(each, kind, name))


def said_parts(repository: Path, rule: SplitRule, named: Sequence[tuple[str, Labelled]], *, images: bool) -> list[Part]:
    """The files that `[split]` names, with a line for each new sample behind those that are there; `named`: with its name."""
    files: dict[str, set[str]] = {}
    if rule.file:
        files.setdefault(rule.file, set()).add("split")
    if rule.time and images:
        files.setdefault(rule.time, set()).add("time")
    return [_with_lines(repository, file, columns, named) for file, columns in files.items() if named]


def _with_lines(repository: Path, file: str, columns: set[str], named: Sequence[tuple[str, Labelled]]) -> Part:
    try:
        before = (repository / file).read_bytes()
        head, *rows = csv.reader(io.StringIO(before.decode("utf-8-sig"), newline=""), strict=True)
        old = next((dict(zip(head, row, strict=True)) for row in rows if row), {})
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint="correct it, commit and push first") from None
    text = io.StringIO(newline="")
    end = "\r\n" if b"\r\n" in before else "\n"
    writer = csv.writer(text, lineterminator=end)
    used = [row[head.index("split")] for row in rows if row] if "split" in columns and "split" in head else []
    for name, each in named:
        line = _line(each, columns, old, used, file) | {NAME: name}
        writer.writerow([line.get(column.strip(), "") for column in head])
    whole = before if not before or before.endswith(b"\n") else before + end.encode()
    return Part(file, whole + text.getvalue().encode(), ())


def _line(each: Labelled, columns: set[str], old: Mapping[str, str], used: Sequence[str], file: str) -> dict[str, str]:
    line = {}
    if "split" in columns:
        line["split"] = train_word(used)
    if "time" in columns:
        line["time"] = moment(each, kind_of(old.get("time", "")), file)
    return line
