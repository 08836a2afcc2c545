"""Which class of the dataset each probability of an ONNX model belongs to: by name. Rules without I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from registry.errors import ConfigError

MOST = 0.5
"""A label that is another class for more than this share of the samples contradicts the order; a few may, where a model
does not simply take the most probable class."""
METADATA_HINT = (
    'say the order in the file: onnx.helper.set_model_props(model, {"classes": json.dumps([…])}), one name per '
    "probability, in their order"
)


def class_columns(
    classes: Sequence[str], numbers: Any, labels: Any, metadata: str, declared: Sequence[Sequence[str]]
) -> tuple[int, ...]:
    """Of each class of the dataset its column in `numbers` (samples, classes), or, of a single column for two classes, 0 for the class
    that it is the probability of, and -1 for the other.

    `labels`: what the model's label output says for the same samples, or None. `metadata`: its entry `classes`, a list in JSON.
    `declared`: the classes of each of its operators that classify. Raises ConfigError when the names are not the
    dataset's, contradict each other, or are not there.
    """
    said = _labels(labels, metadata)
    if said is not None and (unknown := sorted(set(said) - set(classes))):
        raise ConfigError(
            f"its label output says {', '.join(unknown[:4])}; the dataset's classes are {', '.join(classes[:8])}",
            hint="train on the dataset's class names, or " + METADATA_HINT,
        )
    wide = numbers if numbers.shape[1] > 1 else np.hstack([1 - numbers, numbers])
    best = wide.argmax(axis=1)
    if metadata:
        order: Sequence[str] | None = _from_metadata(metadata, classes)
    else:
        known = [each for each in declared if sorted(each) == sorted(classes)]
        order = _most_agreeing(known, best, said) if said is not None else _only(known)
    order = order or _observed(best, said, classes)
    if said is not None and _agreement(order, best, said) < 1 - MOST:
        raise ConfigError(
            f"its label output contradicts the order {', '.join(order[:8])} of its probabilities", hint=METADATA_HINT
        )
    columns = tuple(list(order).index(name) for name in classes)
    return columns if numbers.shape[1] > 1 else tuple(each - 1 for each in columns)


def label_columns(labels: Sequence[str], metadata: str) -> tuple[int, ...]:
    """Of each label of the dataset its column in the probabilities. Without a list in the file's metadata `classes` they are in
    the order of the dataset, as the columns of its y are. Raises ConfigError when the list has other names."""
    order = _from_metadata(metadata, labels) if metadata else labels
    return tuple(list(order).index(name) for name in labels)


def _labels(labels: Any, metadata: str) -> list[str] | None:
    """The label of each sample as text. Numbers beside a list of names count from 0 into that list."""
    if labels is None:
        return None
    array = np.asarray(labels).ravel()
    if metadata and array.dtype.kind in "iu":
        try:
            names = json.loads(metadata)
            return [str(names[each]) for each in array.tolist()]
        except (ValueError, LookupError, TypeError):
            pass
    return [str(each) for each in array.tolist()]


def _from_metadata(metadata: str, classes: Sequence[str]) -> list[str]:
    try:
        found = json.loads(metadata)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ConfigError(f"its metadata classes are not a list in JSON: {metadata!r:.100}", hint=METADATA_HINT)
    names = [str(each) for each in found]
    if sorted(names) != sorted(classes):
        raise ConfigError(
            f"its metadata classes are {', '.join(names[:8])}; the dataset's are {', '.join(classes[:8])}",
            hint=METADATA_HINT,
        )
    return names


def _agreement(order: Sequence[str], best: Any, said: Sequence[str]) -> float:
    return float(np.mean([order[column] == name for column, name in zip(best.tolist(), said, strict=True)]))


def _most_agreeing(known: Sequence[Sequence[str]], best: Any, said: Sequence[str]) -> Sequence[str] | None:
    return max(known, key=lambda order: _agreement(order, best, said), default=None)


def _only(known: Sequence[Sequence[str]]) -> Sequence[str] | None:
    return known[0] if known and all(each == known[0] for each in known) else None


def _observed(best: Any, said: Sequence[str] | None, classes: Sequence[str]) -> list[str]:
    """The order by the labels that the model gives with each column; one class may never be the most probable one."""
    if said is None:
        raise ConfigError("nothing in it says which class each of its probabilities belongs to", hint=METADATA_HINT)
    names: list[set[str]] = [set() for _ in classes]
    for column, name in zip(best.tolist(), said, strict=True):
        names[column].add(name)
    left = [each for each in classes if not any(each in found for found in names)]
    if names.count(set()) == 1 and len(left) == 1:
        names[names.index(set())] = {left[0]}
    order = [next(iter(found)) for found in names if len(found) == 1]
    if sorted(order) != sorted(classes):
        raise ConfigError(
            "its labels do not show which class each of its probabilities belongs to: some class is never the most probable "
            "one in the validation split",
            hint=METADATA_HINT,
        )
    return order
