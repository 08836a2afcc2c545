"""NumPy archives: a new one for each commit. Loads NumPy."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
from pipelines.workers.label_files.split import BY_HAND, moment, train_word
from registry.errors import ConfigError
from training.data.dataset_toml import DatasetFile, Npz
from training.data.times import kind_of


def add(repository: Path, settings: DatasetFile, rows: Sequence[Labelled], stamp: str, made: Parts) -> None:
    """Write them as the arrays that are there; raises ConfigError when nothing can be added."""
    npz = settings.source
    assert isinstance(npz, Npz)
    new = new_name(npz.files, stamp)
    if new is None:
        raise ConfigError(
            f"[npz] files names archives one by one ({', '.join(npz.files):.200}), so that none can be added",
            hint='use a pattern in dataset.toml, e.g. files = "*.npz"',
        )
    rule = settings.rule
    stratum = rule.stratify if isinstance(rule.stratify, str) and rule.stratify not in npz.x else ""
    if stratum:
        raise ConfigError(f"[split] stratify: no answer says its {stratum!r}", hint=BY_HAND)
    like, classes = _first_archive(repository, npz, rule.columns), _classes(repository, npz, settings.classes)
    if like[npz.y].size > 1:
        raise ConfigError(f"[npz] y: {ONE_NUMBER}", hint=ADD_ROWS)
    taken, arrays = [], {name: list[Any]() for name in like}
    for each in rows:
        try:
            found = {name: _array(each, name, like[name]) for name in npz.x}
            if npz.task == "classification" and each.label not in classes:
                raise Unusable(no_class(each.label))
            found[npz.y] = _scalar(npz.y, each.label, like[npz.y].dtype)
            if npz.group:
                found[npz.group] = _scalar(npz.group, each.key, like[npz.group].dtype)
            if rule.column:
                found[rule.column] = train_word(_texts(repository, npz, rule.column))
            if rule.time:
                found[rule.time] = _moment(each, rule.time, like[rule.time])
        except Unusable as error:
            made.left_out.append((each, str(error)))
            continue
        taken.append(each)
        for name, value in found.items():
            arrays[name].append(value)
    if taken:
        kinds = {name: None if array.dtype.kind == "U" else array.dtype for name, array in like.items()}
        file = io.BytesIO()
        np.savez_compressed(
            file, allow_pickle=False, **{name: np.array(values, kinds[name]) for name, values in arrays.items()}
        )
        made.files.append(Part(new, file.getvalue(), tuple(taken)))


def _moment(each: Labelled, name: str, like: Any) -> Any:
    if like.dtype.kind == "M":
        return np.datetime64(moment(each, "time", name)).astype(like.dtype)
    return moment(each, kind_of(str(like.reshape(1)[0])), name)


def _first_archive(repository: Path, npz: Npz, beside: Collection[str]) -> dict[str, Any]:
    """One entry of each array that is needed, of the first archive."""
    paths = sorted(path for pattern in npz.files for path in repository.glob(pattern))
    wanted = [*npz.x, npz.y, *([npz.group] if npz.group else []), *beside]
    try:
        with np.load(paths[0], allow_pickle=False) as archive:
            return {name: archive[name][:1] for name in wanted}
    except (IndexError, KeyError, OSError, ValueError, EOFError) as error:
        named = paths[0].name if paths else "no archive"
        raise ConfigError(
            f"the dataset cannot be read: {named}: {error}", hint="correct it, commit and push first"
        ) from None


def _classes(repository: Path, npz: Npz, declared: Sequence[str]) -> set[str]:
    if declared or npz.task == "regression":
        return set(declared)
    return _texts(repository, npz, npz.y)


def _texts(repository: Path, npz: Npz, name: str) -> set[str]:
    """The different values of an array."""
    found: set[str] = set()
    for path in {path for pattern in npz.files for path in repository.glob(pattern)}:
        with np.load(path, allow_pickle=False) as archive:
            found |= {str(each) for each in np.unique(archive[name]).tolist()}
    return found


def _array(each: Labelled, name: str, like: Any) -> Any:
    value = np.asarray(value_of(each, name))
    shape = like.shape[1:]
    if value.size != math.prod(shape):
        raise Unusable(f"its {name!r} has {value.size} values, and the dataset's have {math.prod(shape)}")
    if value.dtype == object:
        raise Unusable(f"its {name!r} has missing values")
    if like.dtype.kind in "iu" and value.dtype.kind == "f" and not np.array_equal(value, np.round(value)):
        raise Unusable(f"its {name!r} has fractions, and the dataset's are whole numbers")
    return value.reshape(shape).astype(str if like.dtype.kind == "U" else like.dtype)


def _scalar(name: str, text: str, dtype: Any) -> Any:
    try:
        return text if dtype.kind == "U" else dtype.type(float(text))
    except ValueError:
        raise Unusable(f"{text!r:.80} does not go into {name!r}, which holds {dtype}") from None
