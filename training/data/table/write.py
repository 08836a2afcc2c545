"""Writes the prepared splits of a table, and measures its columns on the way; training.data.spec says what is in a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from registry.files import write_whole
from training.data.arrays import write_labels
from training.data.spec import Column
from training.data.table.columns import Content, Feature
from training.data.table.parallel import in_threads
from training.data.table.places import as_json, chosen
from training.data.table.statistics import column_of

Job = Callable[[], Column | None]


def write_splits(
    folders: Mapping[Path, Any], content: Content, classes: Sequence[str], more: Job
) -> tuple[Column, ...]:
    """Write all but `data.json`. Gives the columns, as measured on the first of `folders`: folder → its rows, as a NumPy
    array of indices. `classes`: empty for regression. `more` is done at the same time."""
    for folder in folders:
        folder.mkdir()
    jobs: list[Job] = [more]
    jobs += [partial(_write_rest, folder, rows, content, classes) for folder, rows in folders.items()]
    jobs += [partial(_write_input, folders, i, feature) for i, feature in enumerate(content.features)]
    return tuple(column for column in in_threads(lambda job: job(), jobs) if column)


def _write_rest(folder: Path, rows: Any, content: Content, classes: Sequence[str]) -> None:
    write_whole(folder / "names.json", as_json(chosen(content.names, rows)))
    for i, texts in enumerate(content.dates.values()):
        dates = np.array([each or "" for each in texts[rows].tolist()], np.str_)
        np.save(folder / f"d{i}.npy", dates[:, None])
    if content.labels.dtype == object:  # names of classes
        number = {name: i for i, name in enumerate(classes)}
        write_labels(folder / "y.npy", [number[label] for label in content.labels[rows].tolist()])
    else:
        np.save(folder / "y.npy", content.labels[rows].astype(np.float32))


def _write_input(folders: Mapping[Path, Any], i: int, feature: Feature) -> Column:
    narrow = feature.values.astype(np.float32 if feature.kind == "numeric" else np.int32)
    for folder, rows in folders.items():
        values = narrow[rows]
        if feature.kind == "categorical":  # as long as the longest text of the split
            used = np.bincount(values, minlength=len(feature.texts)) > 0
            values = np.array(feature.texts, object)[used].astype(np.str_)[(np.cumsum(used) - 1)[values]]
        np.save(folder / f"x{i}.npy", values[:, None])
    train, *others = folders.values()
    return column_of(feature, train, others)
