"""The engine of models of any framework: ONNX Runtime over a `model.onnx`. Opening one imports it (60 ms, 30 MB)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.errors import Corrupt
from registry.records import Served, Signature
from serving.engines.base import CHUNK, Array, Arrays, EngineError, check_inputs, check_outputs, chunks, cores, cut
from serving.engines.fair_pool import FairPool, wait_for
from training.model.onnx_runtime import OnnxModel, RunError


class Onnx:
    """A `model.onnx` that takes batches of any size. One session serves all threads; as many of them at once as there are cores."""

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
        del shared  # ONNX Runtime has no way to share weights between processes
        path = folder / served.path
        if served.onnx is None:
            raise Corrupt(f"{path}: the manifest does not say how it takes its inputs")
        if not path.is_file():
            raise Corrupt(f"{path}: the served file is missing")
        self._signature, self._most = signature, most
        (self._output,) = (each.name for each in signature.outputs)
        self._model = OnnxModel(path, signature, served.onnx)
        self._turns: FairPool[None] = FairPool()
        for _ in range(max(1, min(threads, cores()))):
            self._turns.put(None)

    def renew(self, most: int, many: int, at_once: int) -> None:
        del many, at_once  # it keeps no memory for a size
        self._most = most

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        rows = check_inputs(self._signature, inputs)
        if rows <= self._most:
            outputs = {self._output: self._run(inputs)}
        else:
            parts = [self._run(cut(inputs, start, stop, batch)) for start, stop, batch in chunks(rows, most=self._most)]
            outputs = {self._output: np.concatenate(parts)}
        check_outputs(self._signature, outputs, rows)
        return outputs

    def _run(self, inputs: Arrays) -> Array:
        """In a turn of its own: small requests come between the calls of a large one."""
        wait_for(self._turns)
        try:
            answer: Array = self._model(inputs)
        except RunError as error:
            raise EngineError(str(error)) from error
        finally:
            self._turns.put(None)
        return answer
