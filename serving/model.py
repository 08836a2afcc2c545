"""One version of a model, loaded and warm. It knows no protocol and no web framework."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry import codec
from registry.files import sha256_file
from registry.records import Candidate, Signature
from serving.batching.batcher import Batcher
from serving.batching.measure import Bounds, Measured, measure, seconds_of_a_row
from serving.engines.base import CHUNK, Array, Arrays, Engine, EngineError, chunks, load_engine
from serving.engines.dated import in_parts
from serving.engines.scored import answering
from serving.free_memory import give_back_freed
from serving.version_files import mapped_copy
from serving.warm_up import warm_up_inputs
from training.data.spec import DataSpec


class RowError(Exception):
    """The engine works, but has no prediction for row `row` (counted from 0) of valid inputs; the message says why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row


def not_taken(error: EngineError) -> str:
    """Why a row has no prediction, when the engine stops on it."""
    return f"the model cannot take this: {str(error)[:200]}"


def no_answer(output: str) -> str:
    """Why a row has no prediction, when an output for it is not finite."""
    return f"the model has no answer: its output {output} is NaN or infinite"


SMALL_FILE = 2 << 20
"""Bytes of a served file up to which each thread may have an interpreter of its own: a call of it takes less time than a
thread that waits for its turn. With one interpreter `POST /predict` of digits took 5 % more CPU."""


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
    batching: Measured | None = None
    """Whether requests are batched, and why; None: nobody asked for it."""
    batcher: Engine | None = None
    """In front of the engine, where they are."""
    is_quick: bool = False
    """A call of the engine with a few rows takes less time than it takes to hand a request to a thread and back."""
    most: int = CHUNK
    """Rows per call of the engine."""

    def run(self, inputs: Arrays, rows: int) -> dict[str, Array]:
        """The outputs by name for `rows` rows of inputs, all numbers finite.

        Raises RowError for the first failing row, EngineError when the engine fails on its warm-up rows, too.
        """
        inputs = in_parts(inputs, self.signature)  # so that all that is batched is of one kind
        try:
            outputs = (self.batcher or self.engine)(inputs)
        except EngineError as error:
            row = self._first_failing_row(inputs, rows)
            raise RowError(row, not_taken(error)) from error
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array))[0][0])
                raise RowError(row, no_answer(name))
        return outputs

    def batches(self, rows: int) -> tuple[int, ...]:
        """The rows of each call of the engine that `run` makes."""
        sizes = self.manifest.served.batches
        return tuple(stop - start for start, stop, _ in chunks(rows, sizes, self.most)) if rows > 1 else (1,)

    @property
    def waiting(self) -> int:
        """Requests that may usefully wait for the engine: those of the batch that runs, and of the next one."""
        return 2 * self.batching.decision.rows * self.batching.bounds.at_once if self.batching else 0

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


QUICK_ALONE, QUICK = 0.0003, 0.0001
"""Seconds of a row up to which the main loop of a server process may ask the model: where the process has one core for itself,
and where threads could ask it on several at the same time."""


def _is_large(served: Path) -> bool:
    return not served.is_file() or served.stat().st_size > SMALL_FILE


def load(
    folder: Path, release: int | None, threads: int, copies: Path, most: int = CHUNK, bounds: Bounds | None = None
) -> Model:
    """Load and warm up the version in `folder`, whose files were checked against its manifest.

    `copies` is the folder for the copy of a served file that is mapped into memory; `most`: rows per call of the engine.
    `threads` may call it at once. `bounds`: run no more of them at the same time than these say, and batch requests within them,
    if what is measured now says that it helps; None: do not, and measure nothing.

    Raises Corrupt when a file does not fit the manifest, EngineError when the model does not run.
    """
    path = folder / "card.json"
    manifest = codec.from_json(Candidate, path.read_bytes(), str(path), checksum_required=True)
    signature = manifest.signature
    data = codec.read(DataSpec, folder / "data.json") if (folder / "data.json").is_file() else None
    inputs = warm_up_inputs(folder, signature, data)
    with mapped_copy(folder, manifest, copies) as (where, served):
        large = bounds is not None and _is_large(where / served.path)
        at_once = min(threads, bounds.at_once) if bounds and large else threads
        engine = answering(load_engine(where, signature, served, at_once, most, shared=large), signature)
        outputs = engine(inputs)
        model = Model(engine, signature.answered, inputs, outputs, manifest, sha256_file(path), release, data)
        if bounds:
            model = batched(model, bounds)
            engine.renew(model.most, model.batching.many if model.batching else 1, bounds.at_once)
    for _ in range(at_once):  # so that every interpreter of the pool has run once
        engine({name: array[:1] for name, array in inputs.items()})
    if large:
        give_back_freed()
    return model


def batched(model: Model, bounds: Bounds) -> Model:
    """The model, with its requests batched if that helps, and else with whether it is quick."""
    measured = measure(model.engine, model.warm_inputs, bounds)
    rows, batcher = measured.decision.rows, None
    if rows and measured.costs:
        seconds, at_once = bounds.seconds, bounds.at_once
        batcher = Batcher(
            model.engine, model.signature.in_parts, measured.costs, rows=rows, seconds=seconds, at_once=at_once
        )
    most = QUICK_ALONE if bounds.at_once == 1 else QUICK
    is_quick = (
        batcher is None
        and model.manifest.served.engine != "saved_model"
        and seconds_of_a_row(model.engine, model.warm_inputs) <= most
    )
    return replace(model, batcher=batcher, batching=measured, is_quick=is_quick, most=measured.rows_per_call)
