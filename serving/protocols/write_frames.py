"""Predictions as files: an Arrow stream, or the model's one output as `.npy`. Which one: by the request's Accept."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from serving.calls import JSON, Answer, Predicted
from serving.engines.base import Array
from serving.errors import Refused
from serving.probabilities import applying, form_of
from serving.protocols.frames import ARROW, NPY
from serving.protocols.write_predictions import numbers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def chosen(environ: WSGIEnvironment) -> str:
    """JSON, ARROW or NPY: what the client likes best; JSON when it names none of them."""
    accept = environ.get("HTTP_ACCEPT", "")
    if "arrow" not in accept and "npy" not in accept:
        return JSON
    return parse_accept_header(accept, MIMEAccept).best_match([JSON, ARROW, NPY], JSON) or JSON


def written(kind: str, predicted: Predicted) -> Answer:
    """The outputs as ARROW or NPY; raises Refused (406) for what `.npy` cannot hold."""
    return Answer(_npy(predicted) if kind == NPY else _arrow(predicted), kind)


def _npy(predicted: Predicted) -> bytes:
    arrays = list(predicted.outputs.values())
    if len(arrays) > 1 or arrays[0].dtype.kind in "SUO":
        raise Refused(406, "the model's answer is not one array of numbers", hint=f"Accept: {ARROW}, or {JSON}")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(arrays[0]), allow_pickle=False)
    return file.getvalue()


def _arrow(predicted: Predicted) -> bytes:
    """A column per output, or per target; before them `class` and `probability` where the model knows classes, `labels` where it
    gives any number."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    if predicted.probabilities is not None:
        best = predicted.probabilities.argmax(axis=1)
        names = np.asarray(predicted.model.signature.classes, dtype=object)
        columns["class"] = pa.array(names[best].tolist(), pa.string())
        columns["probability"] = pa.array(predicted.probabilities.max(axis=1))
    signature, model = predicted.model.signature, predicted.model
    first, targets = next(iter(predicted.outputs.values())), signature.targets
    if len(predicted.outputs) == 1 and form_of(signature, first) == "labels":
        columns["labels"] = pa.array(applying(signature.classes, first, signature.threshold), pa.list_(pa.string()))
    for name, array in predicted.outputs.items():
        if targets and array.shape[1:] == (len(targets),):
            columns |= {each: _column(np.ascontiguousarray(array[:, i])) for i, each in enumerate(targets)}
            continue
        columns[name if name not in columns else f"output {name}"] = _column(array)
    about = {"model": model.manifest.model, "version": model.manifest.version, "release": model.release}
    table = pa.table(columns).replace_schema_metadata({name: str(value) for name, value in about.items()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _column(array: Array) -> Any:
    """One value per row; lists of one length where a row has several numbers."""
    import pyarrow as pa

    if array.dtype.kind in "SUO":
        return pa.array(numbers(array))
    flat = pa.array(np.ascontiguousarray(array).ravel())
    for size in reversed(array.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat
