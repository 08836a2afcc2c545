"""Prepares a table of CSV or Parquet files: one input per column. Needs pyarrow and NumPy; neither Pillow nor pandas."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.records import TensorSpec
from training.data.arrays import write_description, write_labels
from training.data.checks import Checks, Samples, check_classes, check_samples, in_order
from training.data.columns import Feature, Places, canonical, check_named, joined, read_features, read_labels, text
from training.data.dataset_toml import DatasetFile, Table
from training.data.spec import SPLITS, Column, DataSpec, PrepareJob, SplitName
from training.data.split import shuffled, split_of, split_rule
from training.data.table_files import Part, read_parts, write_part

MISSING = "no value is missing"
FINITE = "every number is finite"
KEYS = "every row has a key of its own"
GROUPS = "every row has a group"
TOGETHER = 'keep one of them, give [table] group, or, if equal rows are different things, set duplicates = "allow"'
FLOAT32_WHOLE = 1 << 24  # from here on float32 does not hold every whole number


def prepare(repository: Path, settings: DatasetFile, output: Path, checks: Checks, job: PrepareJob) -> Samples:
    """Check all rows and write the three splits to `output`; what is wrong goes to `checks`."""
    table = settings.source
    assert isinstance(table, Table)
    parts = read_parts(repository, table, checks)
    if not parts or checks.faults or not check_named(parts, table, checks):
        return Samples(classes=settings.classes)
    places = Places(parts)
    features = read_features(parts, table, checks, places)
    labels = read_labels(parts, table, checks, places)
    _check_finite(features, labels, table, checks, places)
    kept = _complete(features, table, checks, places)
    names = _names(parts, table, checks, places)
    groups = _text_column(parts, table.group, GROUPS, checks, places) if table.group else []
    if checks.faults:
        return Samples(classes=settings.classes)
    samples = Samples([names[row] for row in kept], digests=_digests(features, kept))
    keys: Sequence[bytes | str] = samples.names if table.key else samples.digests
    samples.splits = [
        split_of(groups[row] if groups else key, settings.split) for row, key in zip(kept, keys, strict=True)
    ]
    if table.task == "classification":
        samples.labels = [labels[row] for row in kept]
        counts = Counter(samples.labels)
        found = {name: counts[name] for name in in_order(samples.labels)}
        samples.classes = check_classes(checks, settings.classes, found, "label")
    if table.duplicates == "allow":
        samples.digests = []
    check_samples(checks, samples, TOGETHER)
    if not checks.faults:
        order = shuffled(keys)
        rows = {split: [kept[i] for i in order if samples.splits[i] == split] for split in SPLITS}
        spec = replace(_spec(features, rows["train"], samples.classes, table), split=split_rule(settings))
        for split in SPLITS:
            _write_arrays(output / split, spec, features, labels, rows[split])
            write_description(output / split, spec, [names[row] for row in rows[split]])
            if job.files:
                _write_files(output / split / "files", parts, places, rows[split])
        _note_oddities(spec, features, rows, checks)
    return samples


def _complete(features: Sequence[Feature], table: Table, checks: Checks, places: Places) -> list[int]:
    """The rows without a missing value; with missing = "refuse" a missing value is a fault."""
    checks.make(MISSING)
    empty = np.zeros(places.rows, dtype=bool)
    gaps = []
    for feature in features:
        rows = np.flatnonzero(feature.missing)
        if len(rows):
            empty[rows] = True
            gaps.append(f"{feature.name!r} ({len(rows)})")
            if table.missing == "refuse":
                message = f"column {feature.name!r} is missing in {len(rows)} rows, the first: {places(rows[0])}"
                hint = 'fill the values in, or set [table] missing = "drop" to leave such rows out'
                checks.fault(MISSING, message, hint, len(rows))
    if gaps and table.missing == "drop":
        checks.note(f"{empty.sum()} of {len(empty)} rows are dropped, with a value missing in {', '.join(gaps)}")
        if empty.all():
            checks.fault(MISSING, "no row is complete", "list the columns with gaps under [table] ignore", len(empty))
    return [int(row) for row in np.flatnonzero(~empty)]


def _check_finite(features: Sequence[Feature], labels: Any, table: Table, checks: Checks, places: Places) -> None:
    checks.make(FINITE)
    numbers = {f"column {each.name!r}": each.values for each in features if each.kind == "numeric"}
    if table.task == "regression" and labels is not None:
        numbers[f"target {table.target!r}"] = labels
    for called, values in numbers.items():
        with np.errstate(over="ignore"):
            rows = np.flatnonzero(np.isinf(values.astype(np.float32)))
        if len(rows):
            message = f"{called} holds {values[rows[0]]} in {places(rows[0])}, which float32 cannot hold"
            checks.fault(FINITE, message, "correct the value, or scale the column", len(rows))


def _text_column(parts: Sequence[Part], name: str, check: str, checks: Checks, places: Places) -> list[str]:
    """The key or the group of each row; a row without one is a fault."""
    checks.make(check)
    column = joined(parts, name, checks)
    values: list[str | None] = [] if column is None else text(column).to_pylist()
    for row, value in enumerate(values):
        if value is None:
            checks.fault(check, f"{places(row)} has no {name!r}", "fill it in, or delete the row")
    return [value or "" for value in values]


def _names(parts: Sequence[Part], table: Table, checks: Checks, places: Places) -> list[str]:
    """What each row is called: its key, else its place."""
    if not table.key:
        return [places(row) for row in range(places.rows)]
    names = _text_column(parts, table.key, KEYS, checks, places)
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name and first.setdefault(name, row) != row:
            message = f"{table.key!r} is {name!r} in {places(first[name])} and in {places(row)}"
            checks.fault(KEYS, message, "give each row a key of its own, or leave [table] key out")
    return names


def _digests(features: Sequence[Feature], rows: Sequence[int]) -> list[bytes]:
    """SHA-256 of each row's inputs by column name, numbers as a model gets them: the same when columns are moved or a
    column's type or width changes."""
    texts = []
    for feature in sorted(features, key=lambda each: each.name):
        seen: dict[Any, str] = {}
        numeric = feature.kind == "numeric"
        values = (feature.values.astype(np.float32) if numeric else feature.values).tolist()
        texts.append(
            [seen.get(v) or seen.setdefault(v, f"{feature.name}={canonical(v)}") for v in (values[r] for r in rows)]
        )
    return [hashlib.sha256("\x1f".join(row).encode()).digest() for row in zip(*texts, strict=True)]


def _spec(features: Sequence[Feature], train: Sequence[int], classes: tuple[str, ...], table: Table) -> DataSpec:
    columns, inputs = [], []
    for feature in features:
        values = feature.values[train]
        if feature.kind == "numeric":
            seen = values.astype(np.float32).astype(np.float64)  # what the model gets
            columns.append(Column(feature.name, "numeric", float(seen.mean()), float(seen.var())))
        else:
            columns.append(Column(feature.name, "categorical", vocabulary=tuple(sorted(set(values)))))
        inputs.append(TensorSpec(feature.name, (None, 1), "float32" if feature.kind == "numeric" else "string"))
    return DataSpec("table", table.task, tuple(inputs), classes, tuple(columns), table.target, train_samples=len(train))


def _write_arrays(folder: Path, spec: DataSpec, features: Sequence[Feature], labels: Any, rows: Sequence[int]) -> None:
    folder.mkdir()
    for i, feature in enumerate(features):
        kind = np.float32 if feature.kind == "numeric" else np.str_
        np.save(folder / f"x{i}.npy", feature.values[rows].astype(kind)[:, None])
    if spec.task == "classification":
        number = {name: i for i, name in enumerate(spec.classes)}
        write_labels(folder / "y.npy", [number[labels[row]] for row in rows])
    else:
        np.save(folder / "y.npy", labels[rows].astype(np.float32))


def _write_files(folder: Path, parts: Sequence[Part], places: Places, rows: Sequence[int]) -> None:
    chosen: dict[int, list[int]] = {i: [] for i in range(len(parts))}
    for row in sorted(rows):
        number, inside = places.split(row)
        chosen[number].append(inside)
    for i, part in enumerate(parts):
        write_part(part, chosen[i], folder)


def _note_oddities(
    spec: DataSpec, features: Sequence[Feature], rows: dict[SplitName, list[int]], checks: Checks
) -> None:
    for column, feature in zip(spec.columns, features, strict=True):
        if column.kind == "numeric":
            if not column.variance:
                checks.note(f"column {column.name!r} is {column.mean:g} in every row of the train split")
            values = feature.values[rows["train"]]
            if np.abs(values).max() > FLOAT32_WHOLE and (values == np.floor(values)).all():
                checks.note(
                    f"column {column.name!r} holds whole numbers that float32 rounds: is it a name, not a number?"
                )
            continue
        known = set(column.vocabulary)
        if len(known) > 20 and len(known) > spec.train_samples / 2:
            checks.note(f"column {column.name!r} has {len(known)} values in {spec.train_samples} rows: is it a name?")
            continue
        elsewhere = set(feature.values[rows["validation"] + rows["holdout"]]) - known
        if elsewhere:
            shown = ", ".join(sorted(elsewhere)[:5])
            checks.note(f"column {column.name!r}: {len(elsewhere)} values are not in the train split ({shown})")
