"""A loaded version with all that an answer needs: engine, reader, writer and the names that every answer carries."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry import codec
from registry.errors import Corrupt
from registry.files import sha256_file
from registry.records import Candidate, Served, Signature
from serving.engines.base import Arrays, Engine, EngineError, cast_inputs, load_engine
from serving.protocols.faults import bad
from serving.protocols.instances import Reader
from serving.protocols.write_predictions import Answers, not_finite
from training.data.spec import DataSpec

WARM_ROWS = 16
OPEN = 32
"""Made-up samples have this many values in a dimension that the model leaves open."""
log = logging.getLogger("gunicorn.error")


@dataclass(frozen=True, slots=True)
class Model:
    """One version, loaded and warm. Frozen: a request that holds it is answered by it alone, whatever is swapped in."""

    card: Candidate
    digest: str
    """SHA-256 of the card."""
    release: int | None
    """The release that made it live; None for a candidate on trial."""
    engine: Engine
    reader: Reader
    answers: Answers
    warm: dict[str, Any]
    """Inputs, 1 to 16 rows, that the engine has answered."""
    data: DataSpec | None

    @property
    def signature(self) -> Signature:
        """What goes in and what comes out."""
        return self.card.signature

    def predict(self, inputs: Arrays, rows: int) -> list[Any]:
        """One prediction per row; raises Refused when the values, not the engine, are at fault."""
        try:
            outputs = self.engine(inputs)
        except EngineError as error:
            raise bad(f"{self._guilty_row(inputs, rows)}: the model cannot take this: {str(error)[:200]}") from error
        if name := not_finite(outputs):
            array = outputs[name]
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise bad(f"instances[{row}]: the model has no answer: its output {name} is NaN or infinite")
        return self.answers.write(outputs)

    def _guilty_row(self, inputs: Arrays, rows: int) -> str:
        """Which row the engine does not take, while it still takes what warmed it up; else EngineError again."""
        self.engine(self.warm)
        first, last = 0, rows
        while last - first > 1:  # halving costs as much as one more run of all rows
            middle = (first + last) // 2
            try:
                self.engine({name: array[first:middle] for name, array in inputs.items()})
                first = middle
            except EngineError:
                last = middle
        return f"instances[{first}]"


def load(folder: Path, release: int | None, threads: int, copies: Path) -> Model:
    """Load and warm up the version in `folder`, whose files were checked against its card.

    `copies` keeps our own copy of a served file that is mapped into memory.

    Raises Corrupt when a file does not fit the card, EngineError when the model does not run.
    """
    card = codec.from_json(Candidate, (folder / "card.json").read_bytes(), str(folder / "card.json"), sealed=True)
    with _copies_kept(copies, fcntl.LOCK_SH):
        engine = load_engine(*_own_copy(folder, card, copies), threads)
    data = codec.read(DataSpec, folder / "data.json") if (folder / "data.json").is_file() else None
    warm = _warm_inputs(folder, card.signature, data)
    outputs = engine(warm)
    for _ in range(threads):  # so that every interpreter of the pool has run once
        engine({name: array[:1] for name, array in warm.items()})
    return Model(
        card,
        sha256_file(folder / "card.json"),
        release,
        engine,
        Reader(card.signature),
        Answers(card.signature, outputs),
        warm,
        data,
    )


def check_folder(folder: Path) -> None:
    """Raise Corrupt unless every file of the version in `folder` is what its card says."""
    path = folder / "card.json"
    card = codec.from_json(Candidate, path.read_bytes(), str(path), sealed=True)
    for name, sha256 in card.files.items():
        if not (folder / name).is_file():
            raise Corrupt(f"{folder / name}: is missing, though the card names it")
        if sha256_file(folder / name) != sha256:
            raise Corrupt(f"{folder / name}: was altered: the card has another SHA-256")


def _own_copy(folder: Path, card: Candidate, copies: Path) -> tuple[Path, Signature, Served]:
    """Folder, signature and served file to load: of a single file our own copy, named by its hash.

    It stays mapped while it answers, and a mapped file that someone writes to would kill the process.
    """
    source = folder / card.served.path
    if not source.is_file():  # a SavedModel is read whole while it is loaded
        return folder, card.signature, card.served
    wanted = card.files.get(card.served.path, "")
    target = copies / (wanted or "unnamed")
    if not target.is_file() or sha256_file(target) != wanted:
        copies.mkdir(parents=True, exist_ok=True)
        unfinished = copies / f".tmp-{os.getpid()}"
        shutil.copyfile(source, unfinished)
        if sha256_file(unfinished) != wanted:
            unfinished.unlink()
            raise Corrupt(f"{source}: was altered: the card has another SHA-256")
        unfinished.replace(target)
    return copies, card.signature, replace(card.served, path=target.name)


def forget_copies(copies: Path, keep: Model | None) -> None:
    """Delete the copies that `keep` does not use. Whoever still has one mapped keeps it.

    Not while another worker loads, which may be about to map what we would delete; the last one to load tidies up.
    """
    wanted = {".lock", keep.card.files.get(keep.card.served.path) if keep else None}
    try:
        with _copies_kept(copies, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in copies.glob("*"):
                if path.name not in wanted:
                    path.unlink(missing_ok=True)
    except BlockingIOError:
        log.debug("%s: another worker is loading, it tidies up", copies)


@contextmanager
def _copies_kept(copies: Path, kind: int) -> Iterator[None]:
    """Hold the folder of copies: shared to load from it, exclusive to delete in it."""
    copies.mkdir(parents=True, exist_ok=True)
    with (copies / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, kind)
        yield


def _warm_inputs(folder: Path, signature: Signature, data: DataSpec | None) -> dict[str, Any]:
    """Samples that evaluation kept; else one made up from the dataset's statistics."""
    path = folder / "golden.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as golden:
            arrays = {each.name: golden[f"in_{i}"][:WARM_ROWS] for i, each in enumerate(signature.inputs)}
        return cast_inputs(signature, arrays)
    return example(signature, data)


def example(signature: Signature, data: DataSpec | None) -> dict[str, Any]:
    """One made-up sample, shape (1, …) per input: means and known categories of the train split, else zeros.

    Nobody's data: it is shown to everyone who asks the API for an example.
    """
    columns = {each.name: each for each in data.columns} if data else {}
    arrays: dict[str, Any] = {}
    for spec in signature.inputs:
        shape = (1, *(OPEN if each is None else each for each in spec.shape[1:]))
        column = columns.get(spec.name)
        if spec.dtype == "string":
            arrays[spec.name] = np.full(shape, column.vocabulary[0] if column and column.vocabulary else "", object)
        else:
            value = np.nan_to_num(round(column.mean, 3) if column else 0.0)
            low = -math.inf if spec.low is None else spec.low
            high = math.inf if spec.high is None else spec.high
            arrays[spec.name] = np.full(shape, min(max(value, low), high)).astype(spec.dtype)
    return arrays
