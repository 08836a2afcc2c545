"""Answers for a version of Trainyard's registry within MLflow: `mlflow.pyfunc.load_model(folder)`.

Trainyard puts this file into each version. It needs the engine and NumPy, nothing of Trainyard; `model.json` beside it says
which file is served, and what goes into the model. The numbers are those of Trainyard's prediction API.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

CHUNK = 32
"""Rows per call into the engine, as in Trainyard's API: equal batches, equal numbers."""
Arrays = dict[str, Any]


def _load_pyfunc(path: str) -> Model:
    """What MLflow calls, with the version's folder."""
    folder = Path(path)
    return Model(folder, json.loads((folder / "pyfunc" / "model.json").read_text(encoding="utf-8")))


class Model:
    """A version. It may be called from several threads; one at a time is answered."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._inputs, self._outputs = about["inputs"], about["outputs"]
        self._dates, self._features = about.get("dates", ()), about.get("features", ())
        self._batches = tuple(about["batches"])
        self._run: Callable[[int, Arrays], Arrays] = ENGINES[about["engine"]](folder / about["path"], about)
        self._one = threading.Lock()

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """The outputs, first axis = row: an array, or, of a model with several outputs, arrays by name.

        `model_input`: a DataFrame or a dict with one entry per input, or the array of a model with one. Raises ValueError
        for what the model cannot take, and when it has no finite answer.
        """
        del params
        arrays = self._read(model_input)
        rows = len(next(iter(arrays.values())))
        if not rows or any(len(each) != rows for each in arrays.values()):
            raise ValueError("the inputs need one row or more, all the same number of rows")
        with self._one:
            parts = [self._part(arrays, start, stop, batch) for start, stop, batch in self._chunks(rows)]
        outputs = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0][0])
                raise ValueError(f"row {row}: the model has no answer: its output {name} is NaN or infinite")
        return outputs if len(self._outputs) > 1 else outputs[self._outputs[0]["name"]]

    def _read(self, given: Any) -> Arrays:
        """The engine's arrays by the names that the served file has."""
        named = hasattr(given, "columns") or isinstance(given, Mapping)
        if not named and len(self._inputs) > 1:
            raise ValueError(f"the model takes {', '.join(each['name'] for each in self._inputs)}, each by its name")
        arrays = {}
        for spec in self._inputs:
            name = spec["name"]
            if named and name not in given:
                raise ValueError(f"{name}: this input is missing")
            arrays[spec["tensor"]] = _array(spec, np.asarray(given[name] if named else given))
        return self._in_parts(arrays) if self._dates else arrays

    def _in_parts(self, arrays: Arrays) -> Arrays:
        """With the parts of dates in place of their texts."""
        import trainyard_dates

        tensors, found = {each["name"]: each["tensor"] for each in self._inputs}, dict(arrays)
        for each in self._dates:
            texts = [str(value) for value in arrays[tensors[each["name"]]].ravel().tolist()]
            try:
                numbers = trainyard_dates.numbers(texts, SimpleNamespace(**each))
            except ValueError as error:
                raise ValueError(f"{each['name']}: not a date {trainyard_dates.in_words(each['written'])}") from error
            found |= {name: numbers[:, i : i + 1] for i, name in enumerate(each["features"])}
        named = {
            each["tensor"]: found[each["name"] if each["name"] in found else each["tensor"]] for each in self._features
        }
        return {each["tensor"]: named[each["tensor"]].astype(_kind(each)) for each in self._features}

    def _chunks(self, rows: int) -> list[tuple[int, int, int]]:
        """(start, stop, batch): batches of the sizes that the served file has, else of at most CHUNK."""
        found, start, sizes = [], 0, self._batches
        while start < rows:
            left = rows - start
            batch = min((size for size in sizes if size >= left), default=max(sizes)) if sizes else min(left, CHUNK)
            found.append((start, min(start + batch, rows), batch))
            start += batch
        return found

    def _part(self, arrays: Arrays, start: int, stop: int, batch: int) -> Arrays:
        index = np.minimum(np.arange(start, start + batch), stop - 1)  # the last row fills a batch up
        outputs = self._run(batch, {name: array[index] for name, array in arrays.items()})
        return {each["name"]: np.asarray(outputs[each["tensor"]])[: stop - start] for each in self._outputs}


def _kind(spec: Mapping[str, Any]) -> Any:
    return object if spec["dtype"] == "string" else spec["dtype"]


def _array(spec: Mapping[str, Any], array: Any) -> Any:
    """One input as the served file takes it; raises ValueError naming it."""
    name, dtype, shape = spec["name"], spec["dtype"], spec["shape"]
    if array.ndim == 1 and len(shape) == 2 and shape[1] == 1:  # a column
        array = array.reshape(-1, 1)
    fits = array.ndim == len(shape) and all(w in {None, h} for w, h in zip(shape[1:], array.shape[1:], strict=True))
    if not fits:
        raise ValueError(f"{name}: shape {list(array.shape)} is not {['any' if s is None else s for s in shape]}")
    may_miss = spec.get("may_miss", False)
    if dtype == "string":
        if may_miss:  # pandas has None or NaN there
            array = np.where([[each is None or each != each] for each in array.ravel()], "", array)  # noqa: PLR0124
        if not all(isinstance(each, (str, bytes)) for each in array.ravel().tolist()):
            raise ValueError(f"{name}: not every value is a text")
        return array.astype(object)
    if dtype == "bool":
        if not all(isinstance(each, bool) for each in array.ravel().tolist()):
            raise ValueError(f"{name}: not every value is true or false")
        return array.astype(bool)
    if may_miss and array.dtype == object:
        array = np.array([[np.nan if each is None else each] for each in array.ravel().tolist()])
    if array.dtype.kind not in "iufb":
        raise ValueError(f"{name}: not every value is a number")
    low, high = _bounds(spec)
    there = array[~np.isnan(array)] if may_miss else array
    if there.size and not (low <= there.min().item() and there.max().item() <= high):  # `not`: NaN, too
        raise ValueError(f"{name}: a value is missing, or not between {low:g} and {high:g}")
    if dtype.startswith(("int", "uint")) and array.dtype.kind == "f" and not (array == np.floor(array)).all():
        raise ValueError(f"{name}: not every value is a whole number")
    return array.astype(dtype)


def _bounds(spec: Mapping[str, Any]) -> tuple[float, float]:
    """The signature's bounds, else what the dtype can hold."""
    kind = np.dtype(spec["dtype"])
    limits: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    low, high = spec["low"], spec["high"]
    return (limits.min if low is None else low), (limits.max if high is None else high)


def _litert(path: Path, about: Mapping[str, Any]) -> Callable[[int, Arrays], Arrays]:
    from ai_edge_litert.interpreter import Interpreter

    batches = about["batches"]
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    if not batches:
        runner = interpreter.get_signature_runner("serving_default")
        return lambda _, arrays: dict(runner(**arrays))
    runners = {size: interpreter.get_signature_runner(f"batch_{size}") for size in batches}
    return lambda batch, arrays: dict(runners[batch](**arrays))


def _saved_model(path: Path, about: Mapping[str, Any]) -> Callable[[int, Arrays], Arrays]:
    del about  # batches of any size
    import tensorflow as tf

    model = tf.saved_model.load(str(path))  # kept by the function below: a signature does not keep its model alive
    serve = model.signatures["serving_default"]
    kinds = {name: each.dtype for name, each in serve.structured_input_signature[1].items()}

    def run(_batch: int, arrays: Arrays, _keep: Any = model) -> Arrays:
        tensors = {name: tf.constant(array, kinds[name]) for name, array in arrays.items()}
        return {name: tensor.numpy() for name, tensor in serve(**tensors).items()}

    return run


def _onnx(path: Path, about: Mapping[str, Any]) -> Callable[[int, Arrays], Arrays]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ports = {each.name: each for each in session.get_inputs()}
    wiring, output = about["onnx"], about["outputs"][0]["tensor"]
    order = np.array(wiring["classes"], np.int64)

    def given(name: str, array: Any) -> Any:
        kind = ONNX_DTYPES.get(ports[name].type, ports[name].type[len("tensor(") : -1])
        if kind == "string":
            flat = [each.decode() if isinstance(each, bytes) else each for each in array.ravel().tolist()]
            array = np.array(flat, object).reshape(array.shape)
        else:
            array = array.astype(kind)
        return array.reshape(len(array)) if len(ports[name].shape) == 1 and array.ndim == 2 else array

    def run(_batch: int, arrays: Arrays) -> Arrays:
        together = {wiring["columns"]: np.concatenate(list(arrays.values()), axis=1)} if wiring["columns"] else arrays
        (found,) = session.run([wiring["output"]], {name: given(name, array) for name, array in together.items()})
        found = np.asarray(found, np.float32).reshape(len(found), -1)
        # -1: what the only column leaves of 1
        return {output: np.where(order < 0, 1 - found[:, :1], found[:, order]) if len(order) else found}

    return run


ONNX_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}
"""NumPy has other names for these; the others are the same."""
ENGINES = {"litert": _litert, "saved_model": _saved_model, "onnx": _onnx}
