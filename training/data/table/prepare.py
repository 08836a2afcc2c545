"""Prepares a table of CSV or Parquet files: one input per column. Needs pyarrow and NumPy; neither Pillow nor pandas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from registry import codec
from registry.files import sha256_file
from registry.records import TensorSpec
from registry.spelling import spellings
from training.data.assign import assign
from training.data.checks import (
    Checks,
    SampleList,
    TwinHints,
    check_classes,
    check_samples,
    check_spellings,
    in_order,
)
from training.data.dataset_toml import DatasetFile, Table
from training.data.label_matrix import put_labels
from training.data.marks import that_stay
from training.data.spec import SPLITS, Column, DataSpec, PrepareJob, SplitName
from training.data.split import apart, hashes, labelled, split_rule
from training.data.table.columns import ColumnReader, Content, Feature
from training.data.table.dialect import quoted
from training.data.table.keys import all_differ, order_of, row_digests
from training.data.table.oddities import is_free_text, oddities
from training.data.table.places import chosen
from training.data.table.read import Rows, read_rows
from training.data.table.rule import read_rule
from training.data.table.write import write_splits
from training.data.table_toml import LONGEST_TEXT
from training.data.targets import with_targets

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
    if table.task == "anomaly":
        stay = that_stay(samples, settings, checks)
        samples, keys, kept = samples.only(stay.tolist()), [keys[i] for i in stay], kept[stay]
    check_samples(checks, samples, TWINS)
    if not checks.failed:
        members = _members(samples, keys, kept)
        _check_measurable(content.features, members["train"], checks)
    if not checks.failed:
        if table.task == "anomaly":
            content.labels[np.concatenate([members["train"], members["validation"]])] = 0.0
        folders = {output / split: members[split] for split in SPLITS}
        columns = write_splits(folders, content, samples.classes, partial(_hash_files, repository, rows, samples))
        spec = replace(_spec(columns, samples, settings), train_samples=len(members["train"]))
        if table.task == "regression":
            spec = with_targets(spec, table.targets, content.labels[members["train"]])
        for folder, those in folders.items():
            codec.save(spec, folder / "data.json")
            if job.files:
                rows.write(those, folder / "files")
        for note in oddities(spec, content.features, members):
            checks.note(note)
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
    names: Sequence[str] = rows.places()
    if table.key:
        names = reader.texts(table.key, KEYS)
        _check_keys(rows, names, table, checks)
    groups = reader.texts(table.group, GROUPS) if table.group else []
    for column, texts in ((table.key, names if table.key else ()), (table.group, groups)):
        if table.spellings == "refuse":
            _check_texts(rows, f"column {column!r}", texts, checks)
    texts_of = {each.name: reader.dates[each.name] for each in table.dated if each.name in reader.dates}
    return Content(features, labels, names, groups, texts_of)


def _check_categories(rows: Rows, feature: Feature, checks: Checks) -> None:
    """One category in two spellings is refused; where a column holds free text, it is noted."""
    if feature.kind == "numeric":
        return
    counts, what = feature.counts(), f"column {feature.name!r}"
    if is_free_text(len(counts) + bool(feature.missing.any()), len(rows)):
        if several := sum(len(each) > 1 for each in spellings(counts).values()):
            texts_are = f"{several} texts are" if several > 1 else "a text is"
            checks.note(f"{what}: {texts_are} there in two spellings, and count as different ones")
        return

    def first(text: str) -> str:
        return rows.where(int((feature.values == feature.texts.index(text)).argmax()))

    check_spellings(checks, what, counts, first, ONE_SPELLING, secret=True)


def _check_texts(rows: Rows, what: str, texts: Sequence[str], checks: Checks) -> None:
    counts = {text: count for text, count in Counter(texts).items() if text}
    check_spellings(checks, what, counts, lambda text: rows.where(texts.index(text)), ONE_SPELLING, secret=True)


def _complete(rows: Rows, features: Sequence[Feature], table: Table, checks: Checks) -> Any:
    """The rows without a missing value, as a NumPy array of indices; with missing = "refuse" a missing value is an error."""
    checks.make(MISSING)
    incomplete = np.zeros(len(rows), dtype=bool)
    gaps: list[str] = []
    for feature in features:
        missing = np.flatnonzero(feature.missing)
        name = feature.source or feature.name
        if len(missing) and (
            not gaps or gaps[-1] != f"{name!r} ({len(missing)})"
        ):  # the parts of a date are missing together
            incomplete[missing] = True
            gaps.append(f"{name!r} ({len(missing)})")
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
                checks.fail(MISSING, f"column {name!r} is missing in {where}", hint, len(missing))
    total = len(incomplete)
    if gaps and table.missing in {"keep", "impute"}:
        done = "reach the model" if table.missing == "keep" else "are filled in with what the train split measured"
        checks.note(f"{incomplete.sum()} of {total} rows have missing values, which {done}: {', '.join(gaps)}")
        return np.arange(total)
    if gaps and table.missing == "drop":
        checks.note(f"{incomplete.sum()} of {total} rows are dropped, with a value missing in {', '.join(gaps)}")
        if incomplete.all():
            checks.fail(MISSING, "no row is complete", "list the columns with gaps under [table] ignore", total)
    return np.flatnonzero(~incomplete)


def _check_measurable(features: Sequence[Feature], train: Any, checks: Checks) -> None:
    """Every column has a value in the train split: else nothing can be measured, or filled in."""
    for feature in features:
        if feature.missing[train].all():
            message = f"column {feature.name!r} has no value in any row of the train split"
            checks.fail(MISSING, message, "list it under [table] ignore", len(train))


def _check_finite(rows: Rows, features: Sequence[Feature], labels: Any, table: Table, checks: Checks) -> None:
    checks.make(FINITE)
    numbers = {f"column {each.name!r}": each.values for each in features if each.kind == "numeric"}
    if table.task == "regression" and labels is not None:
        columns = labels.reshape(len(labels), -1).T
        numbers |= {f"target {name!r}": each for name, each in zip(table.predicted, columns, strict=True)}
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
    rows: Rows, content: Content, kept: Any, settings: DatasetFile, checks: Checks
) -> tuple[SampleList, list[bytes]]:
    """The rows that are kept (NumPy array of indices), as samples, and the hash by which each is put into a split and into
    order there."""
    table = settings.source
    assert isinstance(table, Table)
    digests, hashed = row_digests(content.features, kept)
    samples = SampleList(chosen(content.names, kept), digests=digests)
    samples.place = lambda index: rows.where(int(kept[index]))
    if table.key:
        hashed = hashes(samples.names)
    elif table.duplicates == "allow" and not all_differ(hashed):
        labels = np.nan_to_num(content.labels[kept], nan=-1.0) if table.task == "anomaly" else content.labels[kept]
        hashed = hashes(apart(digests, list(map(labelled, labels.tolist()))))
    samples.groups = list(chosen(content.groups, kept)) if content.groups else []
    samples.contents, samples.keyed = samples.digests, bool(table.key)
    if table.task == "anomaly":
        samples.marked = content.labels[kept]
    if table.task == "multi-label":
        put_labels(samples, content.labels[kept], table.targets, checks)
    if table.task == "classification":
        samples.labels = content.labels[kept].tolist()
        counts = Counter(samples.labels)
        found = {name: counts[name] for name in in_order(samples.labels)}
        if table.spellings == "refuse":
            check_spellings(checks, f"target {table.target!r}", found, samples.first_of, ONE_SPELLING)
        samples.classes = check_classes(checks, settings.classes, found, "label")
    if table.duplicates == "allow":
        samples.digests = []
    return samples, hashed


def _hash_files(repository: Path, rows: Rows, samples: SampleList) -> None:
    for part in rows.parts:
        path = repository / part.name
        samples.files[part.name] = sha256_file(path), path.stat().st_size


def _members(samples: SampleList, keys: Sequence[bytes], kept: Any) -> dict[SplitName, Any]:
    """Split → its rows in their order there, as a NumPy array of indices; `keys`: the hash of each sample's key."""
    number = {split: i for i, split in enumerate(SPLITS)}
    order = order_of(keys)
    sides = np.fromiter((number[split] for split in samples.splits), np.int8, len(kept))[order]
    return {split: kept[order[sides == i]] for split, i in number.items()}


def _spec(columns: tuple[Column, ...], samples: SampleList, settings: DatasetFile) -> DataSpec:
    table = settings.source
    assert isinstance(table, Table)
    dtypes = {"numeric": "float32", "categorical": "string"}
    longest = None if table.longest_text == LONGEST_TEXT else table.longest_text
    return DataSpec(
        "table",
        table.task,
        tuple(
            TensorSpec(
                each.name,
                (None, 1),
                dtypes[each.kind],
                may_miss=each.has_missing,
                longest=longest if each.kind == "categorical" else None,
            )
            for each in columns
        ),
        samples.classes,
        columns,
        table.target,
        split=split_rule(settings),
        missing=table.missing,
        dates=table.dated,
        moving=settings.rule.moves,
        boundaries=samples.boundaries,
        ordered=settings.ordered,
        threshold=table.threshold,
        text=table.text,
        quantile=table.quantile,
    )
