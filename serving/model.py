"""One version of a model, loaded and warm. It knows no protocol and no web framework."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from registry import codec
from registry.files import sha256_file
from registry.records import Candidate, Signature
from serving.engines.base import Array, Arrays, Engine, EngineError, load_engine
from serving.version_files import mapped_copy
from serving.warm_up import warm_up_inputs
from training.data.spec import DataSpec


class RowError(Exception):
    """The engine works, but has no prediction for row `row` (counted from 0) of valid inputs; the message says why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row


@dataclass(frozen=True, slots=True)
class Model:
    """An engine with its signature. Frozen: a request that holds it is answered by it alone, whatever is swapped in."""

    engine: Engine
    signature: Signature
    warm_inputs: Arrays
    """1 to 16 rows that the engine has answered."""
    warm_outputs: Arrays
    manifest: Candidate
    digest: str
    """SHA-256 of the manifest."""
    release: int | None
    """The release that made it live; None for a candidate in an acceptance test."""
    data: DataSpec | None

    def run(self, inputs: Arrays, rows: int) -> dict[str, Array]:
        """The outputs by name for `rows` rows of inputs, all numbers finite.

        Raises RowError for the first failing row, EngineError when the engine fails on its warm-up rows, too.
        """
        try:
            outputs = self.engine(inputs)
        except EngineError as error:
            row = self._first_failing_row(inputs, rows)
            raise RowError(row, f"the model cannot take this: {str(error)[:200]}") from error
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0][0])
                raise RowError(row, f"the model has no answer: its output {name} is NaN or infinite")
        return outputs

    def identity(self) -> dict[str, Any]:
        """Which model, version and release this is, and the SHA-256 of its manifest."""
        return {
            "model": self.manifest.model,
            "release": self.release,
            "version": self.manifest.version,
            "card": self.digest,
        }

    def _first_failing_row(self, inputs: Arrays, rows: int) -> int:
        self.engine(self.warm_inputs)  # raises EngineError: then no row is the cause
        first, last = 0, rows
        while last - first > 1:  # bisection costs as much as one more run of all rows
            middle = (first + last) // 2
            try:
                self.engine({name: array[first:middle] for name, array in inputs.items()})
                first = middle
            except EngineError:
                last = middle
        return first


def load(folder: Path, release: int | None, threads: int, copies: Path) -> Model:
    """Load and warm up the version in `folder`, whose files were checked against its manifest.

    `copies` is the folder for the copy of a served file that is mapped into memory.

    Raises Corrupt when a file does not fit the manifest, EngineError when the model does not run.
    """
    path = folder / "card.json"
    manifest = codec.from_json(Candidate, path.read_bytes(), str(path), checksum_required=True)
    signature = manifest.signature
    with mapped_copy(folder, manifest, copies) as (where, served):
        engine = load_engine(where, signature, served, threads)
    data = codec.read(DataSpec, folder / "data.json") if (folder / "data.json").is_file() else None
    inputs = warm_up_inputs(folder, signature, data)
    outputs = engine(inputs)
    for _ in range(threads):  # so that every interpreter of the pool has run once
        engine({name: array[:1] for name, array in inputs.items()})
    return Model(engine, signature, inputs, outputs, manifest, sha256_file(path), release, data)
