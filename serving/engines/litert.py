"""The default engine: LiteRT, without TensorFlow in the process.

`invoke` releases the GIL but an interpreter serves one thread at a time, so there is a pool of them: as many as threads
may call at once, but no more than cores, since more would only wait for each other. The file is memory-mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from registry.errors import Corrupt
from registry.records import Served, Signature
from serving.engines.base import (
    Array,
    Arrays,
    EngineError,
    check_inputs,
    check_outputs,
    chunks,
    cores,
    cut,
)
from training.model.tflite_file import check_tflite

Runner = Callable[..., dict[str, Array]]
ANY_BATCH = "serving_default"


class LiteRT:
    """A `.tflite` file with one signature for any batch size, or one per size (`batch_1`, `batch_8`)."""

    def __init__(self, folder: Path, signature: Signature, served: Served, threads: int) -> None:
        self._signature = signature
        self._batches = served.batches
        self._tensors = {each.name: each.tensor for each in signature.inputs}
        self._path = folder / served.path
        if not self._path.is_file():
            raise Corrupt(f"{self._path}: the served file is missing")
        check_tflite(self._path)
        self._idle: SimpleQueue[dict[int, Runner]] = SimpleQueue()
        for _ in range(max(1, min(threads, cores()))):
            self._idle.put(self._open())

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        rows = check_inputs(self._signature, inputs)
        runners = self._idle.get()
        try:
            parts = [
                self._run(runners, inputs, start, stop, batch) for start, stop, batch in chunks(rows, self._batches)
            ]
        finally:
            self._idle.put(runners)
        outputs = parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        check_outputs(self._signature, outputs, rows)
        return outputs

    def _run(self, runners: dict[int, Runner], inputs: Arrays, start: int, stop: int, batch: int) -> dict[str, Array]:
        runner = runners[batch if self._batches else 0]
        try:
            rows = cut(inputs, start, stop, batch)
            outputs = runner(**{self._tensors[name]: array for name, array in rows.items()})
        except (RuntimeError, ValueError) as error:  # all that the interpreter raises; it stays usable
            raise EngineError(" ".join(str(error).split())) from error
        return outputs if batch == stop - start else {name: array[: stop - start] for name, array in outputs.items()}

    def _open(self) -> dict[int, Runner]:
        """A fresh interpreter's runners by batch size, 0 for any; their names and dtypes are those of the signature."""
        names = {size: f"batch_{size}" for size in self._batches} or {0: ANY_BATCH}
        try:
            interpreter = Interpreter(model_path=str(self._path), num_threads=1)
            runners = {size: interpreter.get_signature_runner(name) for size, name in names.items()}
        except (RuntimeError, ValueError) as error:
            raise Corrupt(f"{self._path}: LiteRT cannot load it: {' '.join(str(error).split())}") from error
        for runner in runners.values():
            self._compare("input", self._signature.inputs, runner.get_input_details())
            self._compare("output", self._signature.outputs, runner.get_output_details())
        return runners

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
