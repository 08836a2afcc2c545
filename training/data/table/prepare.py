"""Prepares a table of CSV or Parquet files: one input per column. Needs pyarrow and NumPy; neither Pillow nor pandas."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.records import TensorSpec
from registry.spelling import canonical, spellings
from training.data.arrays import write_description, write_labels
from training.data.assign import assign
from training.data.checks import (
    HANDFUL,
    Checks,
    SampleList,
    TwinHints,
    check_classes,
    check_samples,
    check_spellings,
    in_order,
)
from training.data.dataset_toml import DatasetFile, Table
from training.data.spec import SPLITS, DataSpec, PrepareJob, SplitName
from training.data.split import apart, shuffled, split_rule
from training.data.table.columns import ColumnReader, Feature
from training.data.table.dialect import quoted
from training.data.table.read import Rows, read_rows
from training.data.table.rule import read_rule
from training.data.table.statistics import column_of

MISSING = "no value is missing"
FINITE = "every number is finite"
KEYS = "every row has a key of its own"
GROUPS = "every row has a group"
ONE_SPELLING = 'write it the same way in every row; if these are different things, set [table] spellings = "distinct"'
ALLOW = 'if they are different things that look the same, set [table] duplicates = "allow"'
TWINS = TwinHints(
    splits=f"{ALLOW}; if they are the same thing, keep them in one split with [table] group, or keep one of them",
    labels=f"{ALLOW}, or add a column that distinguishes them; if they are the same thing, correct its label",
    allow=ALLOW,
)
FLOAT32_WHOLE = 1 << 24  # from here on float32 does not hold every whole number


@dataclass(frozen=True, slots=True)
class Content:
    """A table whose columns can be used; all lists have one entry per row, of the files as they are."""

    features: list[Feature]
    labels: Any
    """See `ColumnReader.labels`."""
    names: list[str]
    """What each row is called: its key, else its file and number."""
    groups: list[str]
    """Empty when `[table] group` is not set."""


def prepare(repository: Path, settings: DatasetFile, output: Path, checks: Checks, job: PrepareJob) -> SampleList:
    """Check all rows and write the three splits to `output`; what is wrong goes to `checks`."""
    table = settings.source
    assert isinstance(table, Table)
    rows = read_rows(repository, table, checks)
    content = rows and read_content(rows, table, checks)
    if not rows or not content:
        return SampleList(classes=settings.classes)
    kept = _complete(rows, content.features, table, checks)
    said = read_rule(rows, (repository, settings), content.names, checks)
    if checks.failed:
        return SampleList(classes=settings.classes)
    samples, keys = _samples(rows, content, kept, settings, checks)
    said.put(samples, kept)
    assign(samples, keys, settings, checks)
    check_samples(checks, samples, TWINS)
    if not checks.failed:
        order = shuffled(keys)
        members = {split: [kept[i] for i in order if samples.splits[i] == split] for split in SPLITS}
        _check_measurable(content.features, members["train"], checks)
    if not checks.failed:
        spec = _spec(content.features, members["train"], samples.classes, settings)
        spec = replace(spec, moving=settings.rule.moves, boundaries=samples.boundaries)
        for split in SPLITS:
            _write_arrays(output / split, spec, content, members[split])
            if job.files:
                rows.write(members[split], output / split / "files")
        _note_oddities(spec, content.features, members, checks)
    return samples


def read_content(rows: Rows, table: Table, checks: Checks) -> Content | None:
    """The columns by their roles; None when one that `dataset.toml` names is missing."""
    reader = ColumnReader(rows, table, checks)
    if not reader.check_named():
        return None
    features, labels = reader.features(), reader.labels()
    _check_finite(rows, features, labels, table, checks)
    for feature in features if table.spellings == "refuse" else ():
        _check_categories(rows, feature, checks)
    if table.key:
        names = reader.texts(table.key, KEYS)
        _check_keys(rows, names, table, checks)
    else:
        names = rows.places()
    groups = reader.texts(table.group, GROUPS) if table.group else []
    for column, texts in ((table.key, names if table.key else []), (table.group, groups)):
        if table.spellings == "refuse":
            _check_texts(rows, f"column {column!r}", texts, checks)
    return Content(features, labels, names, groups)


def _check_categories(rows: Rows, feature: Feature, checks: Checks) -> None:
    """One category in two spellings is refused; where a column holds free text, it is noted."""
    if feature.kind == "numeric":
        return
    texts, what = feature.values.tolist(), f"column {feature.name!r}"
    if _is_free_text(len(set(texts)), len(texts)):
        if several := sum(len(each) > 1 for each in spellings(filter(None, texts)).values()):
            texts_are = f"{several} texts are" if several > 1 else "a text is"
            checks.note(f"{what}: {texts_are} there in two spellings, and count as different ones")
    else:
        _check_texts(rows, what, texts, checks)


def _check_texts(rows: Rows, what: str, texts: Sequence[str | None], checks: Checks) -> None:
    counts = {text: count for text, count in Counter(texts).items() if text}
    check_spellings(checks, what, counts, lambda text: rows.where(texts.index(text)), ONE_SPELLING, secret=True)


def _is_free_text(different: int, rows: int) -> bool:
    """Whether a column holds too many different texts to be categories."""
    return different > 20 and different > rows / 2


def _complete(rows: Rows, features: Sequence[Feature], table: Table, checks: Checks) -> list[int]:
    """The rows without a missing value; with missing = "refuse" a missing value is an error."""
    checks.make(MISSING)
    incomplete = np.zeros(len(rows), dtype=bool)
    gaps = []
    for feature in features:
        missing = np.flatnonzero(feature.missing)
        if len(missing):
            incomplete[missing] = True
            gaps.append(f"{feature.name!r} ({len(missing)})")
            if table.missing == "refuse":
                marks = (
                    ", ".join(f"{mark!r} in {count}" for mark, count in rows.marks(feature.name).items())
                    if feature.kind == "categorical"
                    else ""
                )
                where = f"{len(missing)} rows{f' ({marks})' if marks else ''}, the first: {rows.where(missing[0])}"
                hint = (
                    'fill the values in, or set [table] missing = "drop" to leave such rows out, or "impute" to have them '
                    "filled in with what the train split measures"
                )
                if marks and table.na is None:
                    hint += f"; where {marks.split(' in ')[0]} is a value: categorical = [{quoted(feature.name)}]"
                checks.fail(MISSING, f"column {feature.name!r} is missing in {where}", hint, len(missing))
    total = len(incomplete)
    if gaps and table.missing in {"keep", "impute"}:
        done = "reach the model" if table.missing == "keep" else "are filled in with what the train split measured"
        checks.note(f"{incomplete.sum()} of {total} rows have missing values, which {done}: {', '.join(gaps)}")
        return list(range(total))
    if gaps and table.missing == "drop":
        checks.note(f"{incomplete.sum()} of {total} rows are dropped, with a value missing in {', '.join(gaps)}")
        if incomplete.all():
            checks.fail(MISSING, "no row is complete", "list the columns with gaps under [table] ignore", total)
    return [int(row) for row in np.flatnonzero(~incomplete)]


def _check_measurable(features: Sequence[Feature], train: Sequence[int], checks: Checks) -> None:
    """Every column has a value in the train split: else nothing can be measured, or filled in."""
    for feature in features:
        if feature.missing[train].all():
            message = f"column {feature.name!r} has no value in any row of the train split"
            checks.fail(MISSING, message, "list it under [table] ignore", len(train))


def _check_finite(rows: Rows, features: Sequence[Feature], labels: Any, table: Table, checks: Checks) -> None:
    checks.make(FINITE)
    numbers = {f"column {each.name!r}": each.values for each in features if each.kind == "numeric"}
    if table.task == "regression" and labels is not None:
        numbers[f"target {table.target!r}"] = labels
    for called, values in numbers.items():
        with np.errstate(over="ignore"):
            infinite = np.flatnonzero(np.isinf(values.astype(np.float32)))
        if len(infinite):
            first = infinite[0]
            what = "infinity" if np.isinf(values[first]) else "a number that float32 cannot hold (beyond ±3.4e38)"
            message = f"{called} holds {what} in {rows.where(first)}"
            checks.fail(FINITE, message, "correct the value, or scale the column", len(infinite))


def _check_keys(rows: Rows, names: Sequence[str], table: Table, checks: Checks) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name and first.setdefault(name, row) != row:
            message = f"{table.key!r} is the same in {rows.where(first[name])} and in {rows.where(row)}"
            checks.fail(KEYS, message, "give each row a key of its own, or leave [table] key out")


def _samples(
    rows: Rows, content: Content, kept: Sequence[int], settings: DatasetFile, checks: Checks
) -> tuple[SampleList, Sequence[bytes | str]]:
    """The rows that are kept, as samples, and by which key each is put into a split and into order there."""
    table = settings.source
    assert isinstance(table, Table)
    samples = SampleList([content.names[row] for row in kept], digests=_digests(content.features, kept))
    samples.place = lambda index: rows.where(kept[index])
    keys: Sequence[bytes | str] = samples.names if table.key else samples.digests
    if table.duplicates == "allow" and not table.key:
        keys = apart(samples.digests, [content.labels[row] for row in kept])
    samples.groups = [content.groups[row] for row in kept] if content.groups else []
    samples.contents, samples.keyed = samples.digests, bool(table.key)
    if table.task == "classification":
        samples.labels = [content.labels[row] for row in kept]
        counts = Counter(samples.labels)
        found = {name: counts[name] for name in in_order(samples.labels)}
        if table.spellings == "refuse":
            check_spellings(checks, f"target {table.target!r}", found, samples.first_of, ONE_SPELLING)
        samples.classes = check_classes(checks, settings.classes, found, "label")
    if table.duplicates == "allow":
        samples.digests = []
    return samples, keys


def _digests(features: Sequence[Feature], rows: Sequence[int]) -> list[bytes]:
    """SHA-256 of each row's inputs by column name, numbers as a model gets them: the same when columns are moved or a
    column's type or width changes."""
    texts = []
    for feature in sorted(features, key=lambda each: each.name):
        name, missing = feature.name, feature.missing[rows].tolist()
        if feature.kind == "numeric":
            values = feature.values[rows].astype(np.float32).tolist()
            texts.append(
                [f"{name}=" if gone else numeric_text(name, v) for v, gone in zip(values, missing, strict=True)]
            )
            continue
        seen: dict[Any, str] = {None: f"{name}="}
        values = feature.values[rows].tolist()
        texts.append([seen.get(v) or seen.setdefault(v, f"{name}={canonical(v)}") for v in values])
    return [hashlib.sha256("\x1f".join(row).encode()).digest() for row in zip(*texts, strict=True)]


def numeric_text(name: str, value: float) -> str:
    """`canonical` of a float under its column's name, many times as quickly."""
    return f"{name}={value + 0.0!r}"  # no negative zero


def _spec(
    features: Sequence[Feature], train: Sequence[int], classes: tuple[str, ...], settings: DatasetFile
) -> DataSpec:
    table = settings.source
    assert isinstance(table, Table)
    columns, inputs = [], []
    for feature in features:
        columns.append(column_of(feature, train))
        dtype = "float32" if feature.kind == "numeric" else "string"
        inputs.append(TensorSpec(feature.name, (None, 1), dtype, may_miss=columns[-1].has_missing))
    return DataSpec(
        "table",
        table.task,
        tuple(inputs),
        classes,
        tuple(columns),
        table.target,
        train_samples=len(train),
        split=split_rule(settings),
        missing=table.missing,
    )


def _write_arrays(folder: Path, spec: DataSpec, content: Content, rows: Sequence[int]) -> None:
    folder.mkdir()
    for i, feature in enumerate(content.features):
        numeric, values = feature.kind == "numeric", feature.values[rows]
        array = values.astype(np.float32) if numeric else np.where(feature.missing[rows], "", values).astype(np.str_)
        np.save(folder / f"x{i}.npy", array[:, None])
    if spec.task == "classification":
        number = {name: i for i, name in enumerate(spec.classes)}
        write_labels(folder / "y.npy", [number[content.labels[row]] for row in rows])
    else:
        np.save(folder / "y.npy", content.labels[rows].astype(np.float32))
    write_description(folder, spec, [content.names[row] for row in rows])


def _numbers_rows(values: Any) -> bool:
    return len(np.unique(values)) == len(values) == np.ptp(values) + 1 and bool((values == np.floor(values)).all())


def _there(feature: Feature, rows: Sequence[int]) -> Any:
    """The values of some rows, without those that are missing."""
    return feature.values[rows][~feature.missing[rows]]


def _note_oddities(
    spec: DataSpec, features: Sequence[Feature], members: dict[SplitName, list[int]], checks: Checks
) -> None:
    for column, feature in zip(spec.columns, features, strict=True):
        if column.kind == "numeric":
            if not column.variance:
                checks.note(f"column {column.name!r} is {column.mean:g} in every row of the train split")
            if _numbers_rows(_there(feature, [row for rows in members.values() for row in rows])):
                checks.note(
                    f"column {column.name!r} holds consecutive whole numbers, each once: if it numbers the rows, list it under "
                    "[table] ignore, as rows that are sorted by label are numbered by it"
                )
            values = _there(feature, members["train"])
            if np.abs(values).max() > FLOAT32_WHOLE and (values == np.floor(values)).all():
                checks.note(
                    f"column {column.name!r} holds whole numbers that float32 rounds: is it a name, not a number?"
                )
            continue
        known = set(column.vocabulary)
        if _is_free_text(len(known), spec.train_samples):
            checks.note(f"column {column.name!r} has {len(known)} values in {spec.train_samples} rows: is it a name?")
            continue
        elsewhere = Counter(_there(feature, members["validation"] + members["holdout"]).tolist())
        if new := {each: count for each, count in elsewhere.items() if each not in known}:
            common = sorted(each for each, count in new.items() if count >= HANDFUL)[:5]
            some = f" ({', '.join(common)})" if common else ""
            checks.note(f"column {column.name!r}: {len(new)} values are not in the train split{some}")
