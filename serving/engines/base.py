"""How a served file is run: one table of engines, each imported only when a model asks for it.

An engine is a callable from named numpy arrays to named numpy arrays. It is strict, because the libraries below are not:
LiteRT accepts a 27x27 image for a 28x28 network and returns something. Shapes and dtypes are therefore checked here,
before anything runs. Engines may be called from several threads at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from registry.errors import ConfigError
from registry.records import Served, Signature, TensorSpec

Array = NDArray[Any]
Arrays = Mapping[str, Array]

ENGINES = {
    "litert": "serving.engines.litert:LiteRT",
    "saved_model": "serving.engines.saved_model:SavedModel",
    "onnx": "serving.engines.onnx:Onnx",
}
CHUNK = 32
"""Rows per call into the engine. More gain nothing on a CPU, and memory grows with them."""


class BadInput(ValueError):
    """The inputs do not fit the signature; the message names the input."""


class EngineError(RuntimeError):
    """The engine stopped on inputs that fit the signature: a value it cannot take, or a file that cannot run."""


class ColumnBlock(dict[str, Array]):
    """Inputs of one number per sample and one dtype, by name, and all of them in one array: with thousands of columns, what is
    done for each of them takes longer than the model. Nobody changes it."""

    __slots__ = ("by_column", "specs")

    def __init__(self, specs: tuple[TensorSpec, ...], by_column: Array) -> None:
        """`by_column`: (inputs, rows), in the order and the dtype of `specs`, which `can_be_block` has taken."""
        super().__init__(zip((each.name for each in specs), by_column[:, :, np.newaxis], strict=True))
        self.specs, self.by_column = specs, by_column

    def rows(self, start: int, stop: int) -> ColumnBlock:
        """Some of the rows."""
        return ColumnBlock(self.specs, np.ascontiguousarray(self.by_column[:, start:stop]))


def can_be_block(specs: tuple[TensorSpec, ...]) -> bool:
    """Whether these inputs can be a ColumnBlock."""
    dtypes = {each.dtype for each in specs}
    return (
        len(specs) > 1
        and dtypes <= {"float32", "float64"}
        and len(dtypes) == 1
        and all(each.shape == (None, 1) for each in specs)
    )


def joined(parts: Sequence[Arrays]) -> Arrays:
    """The rows of several inputs, one after the other."""
    blocks = [
        each for each in parts if isinstance(each, ColumnBlock) and each.specs is getattr(parts[0], "specs", None)
    ]
    if len(blocks) == len(parts):
        return ColumnBlock(blocks[0].specs, np.concatenate([each.by_column for each in blocks], axis=1))
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}


class Engine(Protocol):
    """A loaded model. Safe to call from several threads."""

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Outputs by name for inputs by name, as the signature has them: exact dtypes, first axis = sample (1 or more).

        Strings are arrays of kind `U`, `S` or object. Raises BadInput before, EngineError while running, and
        MemoryError when there is not enough of it now.
        """


class LoadedEngine(Engine, Protocol):
    """One that nobody else calls yet."""

    def renew(self, most: int, many: int, at_once: int) -> None:
        """From now on, have at most `most` rows in a call, and calls for `many` rows or more only `at_once` at the same time.

        Gives back the memory that the largest call so far has needed, which is kept for the next one of that size.
        """


def load_engine(
    folder: Path, signature: Signature, served: Served, threads: int = 1, most: int = CHUNK, *, shared: bool = False
) -> LoadedEngine:
    """Load the served file of the version in `folder` for use by up to `threads` threads at once, `most` rows per call.

    `shared`: other processes load it from the same folder, which may be written to: keep its weights there for all of them. Raises Corrupt when the file is missing, is not such a model, or has other names than `signature` says.
    """
    if served.engine not in ENGINES:
        raise ConfigError(f"engine {served.engine!r} is not known", hint=f"known engines: {', '.join(ENGINES)}")
    module, _, name = ENGINES[served.engine].partition(":")
    engine = getattr(import_module(module), name)(folder, signature.in_parts, served, threads, most, shared=shared)
    if signature.dates:
        engine = import_module("serving.engines.dated").Dated(engine, signature)
    return cast("LoadedEngine", engine)


def cast_inputs(signature: Signature, arrays: Arrays) -> dict[str, Array]:
    """The arrays of a prepared split in the dtypes of the served model, e.g. uint8 images as float32.

    Only for data that is known to be good: values are converted, not checked.
    """
    return {
        each.name: arrays[each.name] if each.dtype == "string" else np.asarray(arrays[each.name], dtype=each.dtype)
        for each in signature.inputs
    }


def check_inputs(signature: Signature, inputs: Arrays) -> int:
    """The number of rows in `inputs`; raises BadInput naming what does not fit the signature."""
    if isinstance(inputs, ColumnBlock) and inputs.specs is signature.inputs and inputs.by_column.shape[1]:
        return int(inputs.by_column.shape[1])
    if inputs.keys() != {each.name for each in signature.inputs}:
        wanted = ", ".join(each.name for each in signature.inputs)
        raise BadInput(f"the inputs are {', '.join(inputs) or 'missing'}; the model takes {wanted}")
    rows = -1
    for spec in signature.inputs:
        array = inputs[spec.name]
        if not fits(spec, array):
            raise BadInput(f"{spec.name}: {array.dtype.name} {shape_text(array.shape)} is not {spec_text(spec)}")
        if rows not in {-1, len(array)}:
            raise BadInput(f"{spec.name}: {len(array)} rows, other inputs have {rows}")
        rows = len(array)
    if rows < 1:
        raise BadInput("there are no rows")
    return rows


def fits(spec: TensorSpec, array: Array) -> bool:
    """Whether dtype, rank and every fixed dimension of `array` are exactly those of `spec`."""
    if array.ndim != len(spec.shape):
        return False
    for want, have in zip(spec.shape, array.shape, strict=True):  # a loop: this is asked for each request
        if want is not None and want != have:
            return False
    return array.dtype.kind in "USO" if spec.dtype == "string" else array.dtype == spec.dtype


def check_outputs(signature: Signature, outputs: Arrays, rows: int) -> None:
    """Raise EngineError unless there is one row for each row of the inputs."""
    for spec in signature.outputs:
        if outputs[spec.name].shape[:1] != (rows,):
            shape = shape_text(outputs[spec.name].shape)
            raise EngineError(f"output {spec.name} has shape {shape} for {rows} rows")


def chunks(rows: int, sizes: tuple[int, ...] = (), most: int = CHUNK) -> Iterator[tuple[int, int, int]]:
    """How `rows` are cut for the engine: (start, stop, batch), where batch > stop - start asks for padding.

    Without `sizes` any batch up to `most` will do; else the largest size is used as long as it is full, and the rest
    goes into the smallest size that holds it.
    """
    start = 0
    while start < rows:
        left = rows - start
        batch = min((size for size in sizes if size >= left), default=max(sizes)) if sizes else min(left, most)
        yield start, min(start + batch, rows), batch
        start += batch


def cut(inputs: Arrays, start: int, stop: int, batch: int) -> Arrays:
    """Rows start to stop of each input, the last row repeated up to `batch`: a real row is always a valid one."""
    rows = stop - start
    if rows == batch and isinstance(inputs, ColumnBlock):
        return inputs.rows(start, stop)
    if rows == batch:
        return {name: array[start:stop] for name, array in inputs.items()}
    index = np.minimum(np.arange(start, start + batch), stop - 1)
    return {name: array[index] for name, array in inputs.items()}


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shape_text(shape: tuple[int | None, ...]) -> str:
    """`28x28x1`; `?` for any."""
    return "x".join("?" if each is None else str(each) for each in shape) or "scalar"


def spec_text(spec: TensorSpec) -> str:
    """`float32 ?x28x28x1`."""
    return f"{spec.dtype} {shape_text(spec.shape)}"
