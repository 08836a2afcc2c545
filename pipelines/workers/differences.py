"""The worker that compares two models which should be the same (`python -P -m pipelines.workers.differences`).

In its folder: `job.json` (CompareJob) and the inputs named there. It leaves the Differences. Neither model's code is run for
it: weights are read from the files of Keras as numbers, predictions come from what is served.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.workers.compatibility import Array, Mismatch
from pipelines.workers.evaluate import BATCH, Holdout, LoadedModel, measure, open_holdout, open_model, predict, verify
from pipelines.workers.jobs import CompareJob, Differences
from registry import codec
from registry.errors import WorkerFailed
from serving.engines.base import BadInput, EngineError, cores
from training.worker.protocol import work

FILE, WEIGHTS, OPTIMIZER = "model.keras", "model.weights.h5", "optimizer/"


def main(folder: Path) -> Differences:
    """Raises Corrupt when a file is not the one named in the job, WorkerFailed when a model cannot answer."""
    job, inputs = codec.read(CompareJob, folder / "job.json"), folder / "inputs"
    notes: list[str] = []
    files = [inputs / name / FILE for name in ("then", "again")]
    have = [each.is_file() for each in files]
    weights = weights_apart(files[0], files[1], notes) if all(have) else None
    if not all(have):
        notes.append(
            "one of the two is not a model of Keras"
            if any(have)
            else "models of ONNX are compared by their predictions alone"
        )
    holdout = open_holdout(inputs)
    verify(job.then, inputs / "then")
    verify(job.again, inputs / "again")
    try:
        then, again = (open_model(getattr(job, name), inputs / name, holdout) for name in ("then", "again"))
        apart = predictions_apart(then, again, holdout, notes)
        before, after = (measure(predict(each, holdout), holdout).values for each in (then, again))
    except (Mismatch, BadInput, EngineError) as error:
        raise WorkerFailed(f"the models cannot be compared on the holdout: {error}") from error
    for what, value in (("weights", weights), ("predictions", apart)):
        if value == np.inf:
            notes.append(f"{what}: a number is finite in one of the two models only")
    return Differences(weights, apart, len(holdout.y), before, after, tuple(notes), by_predictions=not any(have))


def weights_apart(then: Path, again: Path, notes: list[str]) -> float | None:
    """The largest absolute difference of two weights in two files of Keras; None, with a note, when their layers differ."""
    one, other = dict(_weights(then)), dict(_weights(again))
    shapes = [{name: each.shape for name, each in found.items()} for found in (one, other)]
    if shapes[0] != shapes[1]:
        differ = sorted(name for name in {*one, *other} if shapes[0].get(name) != shapes[1].get(name))
        notes.append(f"the layers are not the same: {', '.join(differ[:3])}")
        return None
    return max((largest(one[name], other[name]) for name in one), default=0.0)


def _weights(path: Path) -> Iterator[tuple[str, Array]]:
    """Name → array of every weight; what the optimizer remembers is not one."""
    import h5py

    found: list[tuple[str, Array]] = []

    def keep(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and each.dtype.kind in "biuf" and not name.startswith(OPTIMIZER):
            found.append((name, each[()]))

    with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as file, h5py.File(file, "r") as weights:
        weights.visititems(keep)
    yield from found


def predictions_apart(then: LoadedModel, again: LoadedModel, holdout: Holdout, notes: list[str]) -> float | None:
    """The largest absolute difference of two predicted numbers; None, with a note, when their outputs differ in shape."""

    def batch(start: int) -> float:
        x = {name: array[start : start + BATCH] for name, array in holdout.x.items()}
        one, other = then(x), again(x)
        names = [each.name for each in then.signature.outputs]
        return max(largest(one[name], other[name]) for name in names)

    shapes = [[(each.name, each.shape) for each in model.signature.outputs] for model in (then, again)]
    if shapes[0] != shapes[1]:
        notes.append("the outputs are not the same")
        return None
    with ThreadPoolExecutor(cores()) as pool:
        return max(pool.map(batch, range(0, len(holdout.y), BATCH)), default=0.0)


def largest(one: Array, other: Array) -> float:
    """The largest absolute difference of two arrays of one shape; infinite where one is NaN and the other is not."""
    if not one.size:
        return 0.0
    one, other = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(one - other)
    apart = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, distance)
    return float(np.where(np.isnan(apart), np.inf, apart).max())


if __name__ == "__main__":
    sys.exit(work(main))
