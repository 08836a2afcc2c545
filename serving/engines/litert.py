"""The default engine: LiteRT, without TensorFlow in the process.

`invoke` releases the GIL but an interpreter serves one thread at a time, so there is a pool of them: as many as threads
may call at once, but no more than cores, since more would only wait for each other. The server asks for as many as a process
has cores for itself: each holds a copy of the weights, and those of other processes want the cores, too. The file is memory-mapped.
With `shared` there is one copy of the weights for all interpreters of all processes (serving.engines.compiled).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from registry.errors import Corrupt
from registry.records import Served, Signature
from serving.engines.base import (
    CHUNK,
    Array,
    Arrays,
    ColumnBlock,
    EngineError,
    check_inputs,
    check_outputs,
    chunks,
    cores,
    cut,
)
from serving.engines.compiled import Compiled
from serving.engines.fair_pool import FairPool, wait_for
from serving.engines.packed_weights import packed_weights
from training.model.tflite_file import check_tflite

T = TypeVar("T")
Runner = Callable[..., dict[str, Array]]
ANY_BATCH = "serving_default"
MANY_TENSORS, PADDED = 100, 16
"""From so many inputs on, setting their sizes up anew takes longer than a few rows more: 2,000 of them take milliseconds. So
up to so many rows, a call for less than the one before is filled up with its last row."""


class AnyBatch:
    """Runs the file's one graph. Unlike the interpreter's own runner of a signature it sets sizes and memory up only when
    the sizes differ from those before, which takes as long as a tenth of a small model."""

    def __init__(self, interpreter: Any, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """`inputs` and `outputs`: name → the interpreter's index of the tensor."""
        self._interpreter, self._inputs, self._outputs = interpreter, inputs, tuple(outputs.items())
        self._shapes: list[tuple[int, ...]] = []

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Outputs by name; raises RuntimeError or ValueError."""
        interpreter, shapes = self._interpreter, [array.shape for array in arrays.values()]
        if shapes != self._shapes:
            self._shapes = []
            for name, array in arrays.items():
                interpreter.resize_tensor_input(self._inputs[name], array.shape)
            interpreter.allocate_tensors()
            self._shapes = shapes
        for name, array in arrays.items():
            interpreter.set_tensor(self._inputs[name], array)
        return self._invoke()

    def columns(self, tensors: Sequence[str], by_column: Array) -> dict[str, Array]:
        """The same for the tensors in this order, each (rows, 1), from an array (tensors, rows)."""
        rows, interpreter = by_column.shape[1], self._interpreter
        have = self._shapes[0][0] if self._shapes and len(tensors) >= MANY_TENSORS else 0
        if rows < have <= PADDED:
            fill = np.repeat(by_column[:, -1:], have - rows, axis=1)
            outputs = self.columns(tensors, np.concatenate([by_column, fill], axis=1))
            return {name: array[:rows] for name, array in outputs.items()}
        shapes: list[tuple[int, ...]] = [(rows, 1)] * len(tensors)
        indices = [self._inputs[name] for name in tensors]
        if shapes != self._shapes:
            self._shapes = []
            for index, shape in zip(indices, shapes, strict=True):
                interpreter.resize_tensor_input(index, shape)
            interpreter.allocate_tensors()
            self._shapes = shapes
        for index, array in zip(indices, by_column[:, :, np.newaxis], strict=True):
            interpreter.set_tensor(index, array)
        return self._invoke()

    def _invoke(self) -> dict[str, Array]:
        interpreter = self._interpreter
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in self._outputs}


def _details(source: Any) -> tuple[Any, Any]:
    return source.get_input_details(), source.get_output_details()


class LiteRT:
    """A `.tflite` file with one signature for any batch size, or one per size (`batch_1`, `batch_8`)."""

    def __init__(
        self,
        folder: Path,
        signature: Signature,
        served: Served,
        threads: int,
        most: int = CHUNK,
        *,
        shared: bool = False,
    ) -> None:
        self._signature = signature
        self._batches = served.batches
        self._tensors = {each.name: each.tensor for each in signature.inputs}
        self._in_order = tuple(self._tensors.values())
        self._path = folder / served.path
        if not self._path.is_file():
            raise Corrupt(f"{self._path}: the served file is missing")
        check_tflite(self._path)
        self._packed = packed_weights(self._path) if shared else None
        self._count = max(1, min(threads, cores()))
        self.renew(most, 1, self._count)

    def renew(self, most: int, many: int, at_once: int) -> None:
        self._most, self._many = most, many
        self._idle: FairPool[dict[int, Runner]] = FairPool()
        for _ in range(self._count):
            self._idle.put(self._open())
        turns: FairPool[None] = FairPool()
        for _ in range(at_once):
            turns.put(None)
        self._turns = turns if at_once < self._count else None

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        rows = check_inputs(self._signature, inputs)
        if not self._batches and rows <= self._most:
            parts = [self._run(0, inputs)]
        else:
            parts = [
                self._part(inputs, start, stop, batch) for start, stop, batch in chunks(rows, self._batches, self._most)
            ]
        outputs = parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        check_outputs(self._signature, outputs, rows)
        return outputs

    def _part(self, inputs: Arrays, start: int, stop: int, batch: int) -> dict[str, Array]:
        outputs = self._run(batch if self._batches else 0, cut(inputs, start, stop, batch))
        return outputs if batch == stop - start else {name: array[: stop - start] for name, array in outputs.items()}

    def _run(self, size: int, inputs: Arrays) -> dict[str, Array]:
        """On an interpreter for this call only: small requests come between the calls of a large one."""
        turns = self._turns if len(next(iter(inputs.values()))) >= self._many else None
        if turns:
            wait_for(turns)
        runners = wait_for(self._idle)
        try:
            runner = runners[size]
            if isinstance(inputs, ColumnBlock) and isinstance(runner, AnyBatch):
                return runner.columns(self._in_order, inputs.by_column)
            return runner(**{self._tensors[name]: array for name, array in inputs.items()})
        except (RuntimeError, ValueError) as error:  # all that the interpreter raises; it stays usable
            raise EngineError(" ".join(str(error).split())) from error
        finally:
            self._idle.put(runners)
            if turns:
                turns.put(None)

    def _open(self) -> dict[int, Runner]:
        """A fresh interpreter's runners by batch size, 0 for any; their names and dtypes are those of the signature."""
        names = {size: f"batch_{size}" for size in self._batches} or {0: ANY_BATCH}
        try:
            interpreter = Interpreter(model_path=str(self._path), num_threads=1)
            runners: dict[int, Any] = {size: interpreter.get_signature_runner(name) for size, name in names.items()}
        except (RuntimeError, ValueError) as error:
            raise Corrupt(f"{self._path}: LiteRT cannot load it: {' '.join(str(error).split())}") from error
        for runner in runners.values():
            self._compare("input", self._signature.inputs, runner.get_input_details())
            self._compare("output", self._signature.outputs, runner.get_output_details())
        if self._packed:
            return self._open_packed(self._packed, names)
        if self._batches:
            return dict(runners)
        (runner,) = runners.values()
        places = [{name: int(each["index"]) for name, each in found.items()} for found in _details(runner)]
        first = [{int(each["index"]) for each in found} for found in _details(interpreter)]
        if [set(each.values()) for each in places] != first:  # it is not the graph that the interpreter runs by itself
            return dict(runners)
        del runner, runners  # one that holds the interpreter would keep it from running
        return {0: AnyBatch(interpreter, *places)}

    def _open_packed(self, packed: Path, names: dict[int, str]) -> dict[int, Runner]:
        """The same with the weights of `packed`."""
        try:
            found = Compiled(self._path, packed).runners()
        except RuntimeError as error:
            raise Corrupt(f"{self._path}: LiteRT cannot load it with {packed.name}: {error}") from error
        return {size: found[name] for size, name in names.items()}

    def _compare(self, what: str, wanted: tuple[Any, ...], found: dict[str, Any]) -> None:
        """Names and dtypes; shapes too where both sides fix them. The file's own order means nothing."""
        if found.keys() != {each.tensor for each in wanted}:
            raise Corrupt(f"{self._path}: {what}s {sorted(found)}, the signature says {[w.tensor for w in wanted]}")
        for spec in wanted:
            kind = np.dtype(found[spec.tensor]["dtype"])
            name = "string" if kind.kind in "SUO" else kind.name
            shape = tuple(int(each) for each in found[spec.tensor]["shape_signature"])
            same = len(shape) in {0, len(spec.shape)} and all(
                -1 in {ours, theirs} or ours == theirs
                for ours, theirs in zip((-1 if s is None else s for s in spec.shape[1:]), shape[1:], strict=False)
            )
            if name != spec.dtype or not same:
                raise Corrupt(
                    f"{self._path}: {what} {spec.name} is {name} {list(shape)}, the signature says {spec.dtype} {list(spec.shape)}"
                )
