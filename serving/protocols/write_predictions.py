"""From the outputs of the model to what the client reads, one entry per instance.

* classes as a probability distribution: `{"class": "7", "probability": 0.98, "probabilities": {"0": …}}`
* one number and two classes: it is the probability of the second class, and the answer has the same form
* classes, but no distribution (logits): `{"class": "7", "scores": {"0": …}}`
* several labels at once: `{"labels": ["rain", "wind"], "probabilities": {"rain": 0.93, …}}`
* regression: `{"value": 3.2}`; of several targets `{"values": {"wind": 3.2, …}}`, and of several numbers without names
  `{"values": [...]}`
* anomalies: `{"score": 3.2, "anomalous": true, "threshold": 1.9}`
* several outputs: each of the above under the output's name

Whether outputs are a distribution is decided once per model: see serving.probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from registry.records import Signature
from serving.engines.base import Array, Arrays
from serving.probabilities import applying, form_of, of_both

FLAT = 2
"""Dimensions of an output with one row of numbers per instance."""
WIDE = 64
"""Names from which on it is quicker to write their JSON than to make a dict for orjson."""
Write = Callable[[Array], list[dict[str, Any]]]
Named = Callable[[Any], Any]
"""The numbers of a row with the names that they have."""


class Writer:
    """Writes predictions for one signature; `warm` are the model's outputs for rows that are known to be good. `as_json`: many
    names with their numbers are JSON already, for orjson alone to read."""

    def __init__(self, signature: Signature, warm: Arrays, *, as_json: bool = False) -> None:
        self._writers = {each.name: _writer(signature, warm[each.name], as_json=as_json) for each in signature.outputs}
        self._only = signature.outputs[0].name if len(signature.outputs) == 1 else ""
        self._is_flat = signature.task == "anomaly"

    def write(self, outputs: Arrays) -> list[dict[str, Any]]:
        """One entry per row; numbers stay NumPy's, which orjson writes as short as their dtype allows."""
        if self._only:
            return self._writers[self._only](outputs[self._only])
        if self._is_flat:
            values = (_plain(outputs[name]) for name in self._writers)
            return [dict(zip(self._writers, row, strict=True)) for row in zip(*values, strict=True)]
        columns = [writer(outputs[name]) for name, writer in self._writers.items()]
        return [dict(zip(self._writers, row, strict=True)) for row in zip(*columns, strict=True)]


def _writer(signature: Signature, warm: Array, *, as_json: bool) -> Write:
    classes, form = signature.classes, form_of(signature, warm)
    named = _as_json(classes) if as_json and len(classes) >= WIDE else _as_dict(classes)
    if form == "distribution":
        return _probabilities(classes, named)
    if form == "second":
        return _two(_probabilities(classes, named))
    if form == "scores":
        return _scores(classes, named)
    if signature.targets and warm.ndim == FLAT and warm.shape[1] == len(signature.targets):
        return _targets(_as_dict(signature.targets))
    if form == "labels":
        return _labels(classes, signature.threshold, named)
    return _value if warm.ndim == 1 or (warm.ndim == 2 and warm.shape[1] == 1) else _values


def _as_dict(names: tuple[str, ...]) -> Named:
    return lambda row: dict(zip(names, row, strict=True))


def _as_json(names: tuple[str, ...]) -> Named:
    """What `_as_dict` gives, as orjson writes it."""
    heads = [(b"," if i else b"{") + orjson.dumps(name) + b":" for i, name in enumerate(names)]

    def write(row: Any) -> Any:
        if not isinstance(row, np.ndarray) or row.ndim != 1 or len(row) != len(heads):
            return dict(zip(names, row, strict=True))
        parts = [b"}"] * (2 * len(heads) + 1)
        parts[:-1:2] = heads
        parts[1::2] = orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
        return orjson.Fragment(b"".join(parts))

    return write


def _probabilities(classes: tuple[str, ...], named: Named) -> Write:
    def write(output: Array) -> list[dict[str, Any]]:
        rows = _plain(output)
        return [
            {"class": classes[best], "probability": row[best], "probabilities": named(row)}
            for row, best in zip(rows, output.argmax(axis=1).tolist(), strict=True)
        ]

    return write


def _scores(classes: tuple[str, ...], named: Named) -> Write:
    def write(output: Array) -> list[dict[str, Any]]:
        rows = _plain(output)
        return [
            {"class": classes[best], "scores": named(row)}
            for row, best in zip(rows, output.argmax(axis=1).tolist(), strict=True)
        ]

    return write


def _labels(labels: tuple[str, ...], threshold: float, named: Named) -> Write:
    def write(output: Array) -> list[dict[str, Any]]:
        names = applying(labels, output, threshold)
        return [
            {"labels": found, "probabilities": named(row)} for found, row in zip(names, _plain(output), strict=True)
        ]

    return write


def _two(write: Write) -> Write:
    def both(output: Array) -> list[dict[str, Any]]:
        return write(of_both(output))

    return both


def _value(output: Array) -> list[dict[str, Any]]:
    return [{"value": each} for each in _plain(output.reshape(-1))]


def _targets(named: Named) -> Write:
    def write(output: Array) -> list[dict[str, Any]]:
        return [{"values": named(row)} for row in _plain(output)]

    return write


def _values(output: Array) -> list[dict[str, Any]]:
    return [{"values": each} for each in _plain(output)]


def _plain(array: Array) -> list[Any]:
    """The rows, in a dtype that orjson writes; texts as str."""
    if array.dtype.kind in "SUO":
        return [_text(each) for each in array.tolist()]
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        array = array.astype(np.float32)
    return list(np.ascontiguousarray(array))


def numbers(array: Array) -> Any:
    """The values as the model gives them, in a form that orjson writes as short as their dtype allows; texts as str."""
    return _text(array.tolist()) if array.dtype.kind in "SUO" else np.ascontiguousarray(array)


def _text(value: Any) -> Any:
    """A text, or lists of them, whatever TensorFlow or NumPy made of it."""
    if isinstance(value, list):
        return [_text(each) for each in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
