"""Predictions as columns, or as entries of JSON in the words of the prediction API, beside the columns that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from registry.errors import ConfigError
from registry.records import Signature
from serving.batch import arrow
from serving.engines.base import Array, Arrays
from serving.probabilities import Form, applying, form_of, of_both
from serving.protocols.write_predictions import Writer
from training.multi_label import decided

KEY = "prediction"
"""The member of a JSON object that holds the prediction."""


class Answers:
    """Makes predictions of outputs, for one model; `warm` are its outputs for rows that are known to be good."""

    def __init__(self, signature: Signature, warm: Arrays) -> None:
        self._classes, self._targets, self._threshold = signature.classes, signature.targets, signature.threshold
        self._forms: dict[str, Form] = {each.name: form_of(signature, warm[each.name]) for each in signature.outputs}
        self._prefix = {each: "" if len(self._forms) == 1 else f"{each}." for each in self._forms}
        self._writer = Writer(signature, warm)
        self._is_flat = signature.task == "anomaly"
        self.names = [name for name, _ in self.columns(warm, flat=False)]

    def columns(self, outputs: Arrays, *, flat: bool) -> list[tuple[str, Any]]:
        """Name and pyarrow.Array of each column. `flat`: no lists, one column for each number, as CSV needs it."""
        if self._is_flat:
            return [(name, arrow.numbers(_plain(outputs[name]))) for name in self._forms]
        found: list[tuple[str, Any]] = []
        for name, form in self._forms.items():
            found += [
                (f"{self._prefix[name]}{each}", array) for each, array in self._of(outputs[name], form, flat=flat)
            ]
        return found

    def entries(self, outputs: Arrays) -> list[dict[str, Any]]:
        """One entry per row, as in `predictions` of the API."""
        return self._writer.write(outputs)

    def _of(self, output: Array, form: Form, *, flat: bool) -> list[tuple[str, Any]]:
        if self._targets and output.shape[1:] == (len(self._targets),):
            numbers = np.ascontiguousarray(_plain(output).T)
            return [(f"predicted_{name}", arrow.numbers(numbers[i])) for i, name in enumerate(self._targets)]
        if form == "numbers":
            return _spread("predicted_value", _plain(output), flat=flat)
        if form == "labels":
            return self._labels(_plain(output), flat=flat)
        output = _plain(of_both(output) if form == "second" else output)
        best = output.argmax(axis=1)
        found = [("predicted_class", arrow.chosen(self._classes, best))]
        what = "score" if form == "scores" else "probability"
        if form != "scores":
            found.append((what, arrow.numbers(output[np.arange(len(output)), best])))
        if flat:
            return found + [(f"{what}_{each}", arrow.numbers(output[:, i])) for i, each in enumerate(self._classes)]
        return [*found, ("scores" if form == "scores" else "probabilities", arrow.numbers(output))]

    def _labels(self, output: Array, *, flat: bool) -> list[tuple[str, Any]]:
        if not flat:
            found = applying(self._classes, output, self._threshold)
            return [("predicted_labels", arrow.lists(found)), ("probabilities", arrow.numbers(output))]
        given = decided(output, self._threshold)
        columns = [(f"predicted_{each}", arrow.numbers(given[:, i])) for i, each in enumerate(self._classes)]
        return columns + [(f"probability_{each}", arrow.numbers(output[:, i])) for i, each in enumerate(self._classes)]


def check_names(kept: Sequence[str], predicted: Sequence[str]) -> None:
    """Raise ConfigError when a column that is kept has the name of one that is predicted."""
    if both := sorted(set(kept) & set(predicted)):
        hint = "name the columns to keep with --columns, without this one, or rename it"
        raise ConfigError(f"column {both[0]!r} has the name of a column that is written", hint=hint)


def with_predictions(kept: Any, predicted: list[tuple[str, Any]], explained: list[tuple[str, Any]]) -> Any:
    """A pyarrow.Table of the columns that are kept, those that are predicted and have no null, and those that explain them."""
    fields = [pa.field(name, array.type, nullable=False) for name, array in predicted]
    fields += [pa.field(name, array.type) for name, array in explained]
    columns = [*kept.columns, *(array for _, array in (*predicted, *explained))]
    return pa.table(columns, schema=pa.schema([*kept.schema, *fields]))


def lines(kept: Any, entries: list[dict[str, Any]]) -> bytes:
    """One line of JSON per row: what is kept of it, and the members of its entry."""
    rows = kept if isinstance(kept, list) else kept.to_pylist() if kept.num_columns else [{} for _ in entries]
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    return b"".join(
        orjson.dumps({**row, **entry}, default=str, option=options) for row, entry in zip(rows, entries, strict=True)
    )


def table_of(rows: list[dict[str, Any]], names: Sequence[str]) -> Any:
    """Objects of JSON as a pyarrow.Table with these columns: texts as they are, everything else as JSON."""
    return pa.table([arrow.texts([_text(row.get(name)) for row in rows]) for name in names], list(names))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _spread(name: str, output: Array, *, flat: bool) -> list[tuple[str, Any]]:
    """One number or text per row under this name; several as a list, or under the name and their place."""
    width = int(np.prod(output.shape[1:]))
    if output.dtype.kind in "SUO":
        texts = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in output.reshape(-1)]
        array = arrow.texts(texts)
        array = array if width == 1 else pa.FixedSizeListArray.from_arrays(array, width)
        return [(name, array)]
    if width == 1:
        return [(name, arrow.numbers(output.reshape(-1)))]
    if not flat:
        return [(f"{name}s", arrow.numbers(output))]
    columns = output.reshape(len(output), width)
    return [(f"{name}_{i}", arrow.numbers(np.ascontiguousarray(columns[:, i]))) for i in range(width)]


def _plain(output: Array) -> Array:
    return output.astype(np.float32) if output.dtype.kind == "f" and output.dtype.itemsize == 2 else output
