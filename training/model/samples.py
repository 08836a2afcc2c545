"""One split as a model sees it: the prepared arrays, or what the team's `load_data` makes of the same files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from registry.errors import ConfigError
from registry.records import Signature, TensorSpec
from registry.records.data import SCORE
from training.data.spec import DataSpec, load_split
from training.model.contract import Contract, blame

STREAM_BYTES = 1 << 30
"""Splits above this stay on the disk."""
BATCH_BYTES = 1 << 20
"""Validation runs in batches of about this size, when that is more than the batch size of training."""
MAX_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Samples:
    """One split as a model sees it: input name → array (samples, …), strings as `U`; y (samples,), int64 or float32, or float32
    (samples, targets), or of multi-label (samples, labels); of anomalies as the split has it."""

    inputs: tuple[TensorSpec, ...]
    x: dict[str, Any]
    y: Any
    loaded: bool = False
    """Whether they are what the team's `load_data` made of the dataset."""

    def __len__(self) -> int:
        return len(self.y)

    @property
    def bytes(self) -> int:
        """The size of all inputs."""
        return sum(int(each.nbytes) for each in self.x.values())

    @property
    def fits_in_memory(self) -> bool:
        """Whether all inputs are kept in memory; the rows of others are read when a batch wants them."""
        return self.bytes <= STREAM_BYTES

    def rows(self, index: Any) -> dict[str, Any]:
        """The inputs of some samples, in memory."""
        return {name: np.asarray(array[index]) for name, array in self.x.items()}


def open_samples(folder: Path, contract: Contract | None) -> Samples:
    """The prepared split in `folder`, or what the team's `load_data` makes of the same files.

    Raises ConfigError when `load_data` gives something that is not samples, WorkerFailed when it raises.
    """
    split = load_split(folder)
    if contract is None or contract.load_data is None:
        samples = Samples(split.spec.inputs, split.x, split.y)
    else:
        with blame(contract.code, "model.py: load_data failed"):
            loaded = contract.load_data(split.files)
        samples = _loaded(loaded, split.spec)
    if samples.fits_in_memory:
        arrays = {name: np.ascontiguousarray(array) for name, array in samples.x.items()}
        samples = replace(samples, x=arrays, y=np.asarray(samples.y))
    return samples


def _loaded(loaded: Any, spec: DataSpec) -> Samples:
    if not isinstance(loaded, tuple) or len(loaded) != 2:
        raise ConfigError(
            "model.py: load_data did not return (x, y)", hint="return x, y: arrays, the first axis is the sample"
        )
    x, y = loaded
    only = spec.inputs[0].name if len(spec.inputs) == 1 else "x"
    arrays = {str(name): _array(each) for name, each in (x.items() if isinstance(x, Mapping) else [(only, x)])}
    y = np.asarray(y)
    if not len(y) or {len(each) for each in arrays.values()} != {len(y)}:
        shapes = ", ".join(f"{name} {list(each.shape)}" for name, each in arrays.items())
        raise ConfigError(f"model.py: load_data returned {shapes} for y {list(y.shape)}: not one row per sample")
    if spec.task == "classification":
        y = y.astype(np.int64).reshape(len(y), -1)
        if y.shape[1] != 1 or y.min() < 0 or y.max() >= len(spec.classes):
            raise ConfigError(
                f"model.py: load_data must return y as indices 0 to {len(spec.classes) - 1} of spec.classes"
            )
        y = y[:, 0]
    elif spec.task == "multi-label":
        if y.shape != (len(y), len(spec.classes)) or not np.isin(y, (0, 1)).all():
            raise ConfigError(
                f"model.py: load_data must return y as rows of {len(spec.classes)} numbers, 0 or 1, one per label of spec.classes"
            )
        y = y.astype(np.float32)
    else:
        y = y.astype(np.float32).reshape(len(y), -1)
        if y.shape[1] != (wanted := len(spec.targets) or 1):
            raise ConfigError(
                f"model.py: load_data returned y with {y.shape[1]} numbers per sample; the dataset has {wanted}",
                hint=f"return y with shape (samples, {wanted})" if spec.targets else "return y with shape (samples,)",
            )
        y = y if spec.targets else y[:, 0]
    inputs = tuple(TensorSpec(name, (None, *each.shape[1:]), _dtype(each)) for name, each in arrays.items())
    return Samples(inputs, arrays, y, loaded=True)


def _array(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype("U") if array.dtype.kind in "SO" else array


def _dtype(array: Any) -> str:
    return "string" if array.dtype.kind == "U" else str(array.dtype.name)


def big_batch(samples: Samples) -> int:
    """Rows in a batch that is not trained on: few enough to stay small, many enough to be quick."""
    return int(max(1, min(MAX_ROWS, BATCH_BYTES // max(1, samples.bytes // len(samples)))))


def output_of(spec: DataSpec) -> str:
    """What the only output of a served model is called."""
    if spec.task == "anomaly":
        return SCORE
    return "probabilities" if spec.classes else "prediction"


def signature_of(spec: DataSpec, samples: Samples, inputs: tuple[TensorSpec, ...], output: str) -> Signature:
    """What the API will take and give, for a model that takes `inputs`; `output` names its answer."""
    kind = _kind(spec, samples)
    if kind == "image":
        inputs = tuple(replace(each, low=0.0, high=255.0) for each in inputs)
    if spec.task == "anomaly":
        answer = TensorSpec(output, (None, 1), "float32")
    elif spec.task == "regression":
        answer = TensorSpec(output, (None, len(spec.targets) or 1), "float32")
    else:
        answer = TensorSpec(output, (None, len(spec.classes)), "float32", 0.0, 1.0)
    mode, preparation = (spec.image_mode, spec.preparation) if kind == "image" else ("", None)
    text = spec.text if kind == "table" else None
    known = (spec.task, kind, inputs, (answer,), spec.classes, mode, spec.target, preparation, spec.targets)
    return Signature(*known, ordered=spec.ordered, threshold=spec.threshold, text=text)


def _kind(spec: DataSpec, samples: Samples) -> Literal["image", "table", "array"]:
    """Images and columns only when the model was trained on them as they are: an image sent to the API would not go
    through the `load_data` that made what the model knows."""
    if samples.loaded or spec.format == "npz":
        return "array"
    return "image" if spec.format == "images" else "table"
