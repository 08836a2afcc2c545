"""From a prepared split to batches of tensors.

What trains here can be read again there: the order of the samples is a function of seed, attempt and epoch alone, so a
run that was killed resumes with the same batches that it would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from registry.errors import ConfigError
from registry.records import TensorSpec
from training.data.spec import DataSpec, load_split
from training.model.contract import Contract, blame

STREAM_BYTES = 1 << 30
"""Splits above this stay on the disk, and their rows are read when a batch wants them."""
BATCH_BYTES = 1 << 20
"""Validation runs in batches of about this size, when that is more than the batch size of training."""
MAX_ROWS = 1024
plain = tf.autograph.experimental.do_not_convert
"""For functions of tensors that are ours: there is nothing in them to rewrite, and looking for it takes time."""


@dataclass(frozen=True, slots=True)
class Samples:
    """One split as a model sees it: input name → array (samples, …), strings as `U`; y (samples,), int64 or float32."""

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
    if samples.bytes <= STREAM_BYTES:
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
    else:
        y = y.astype(np.float32).reshape(len(y), -1)
    inputs = tuple(TensorSpec(name, (None, *each.shape[1:]), _dtype(each)) for name, each in arrays.items())
    return Samples(inputs, arrays, y[:, 0], loaded=True)


def _array(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype("U") if array.dtype.kind in "SO" else array


def _dtype(array: Any) -> str:
    return "string" if array.dtype.kind == "U" else str(array.dtype.name)


class Order:
    """The order of the training samples, a new one for every epoch; `epoch` is the current one, set by who counts."""

    def __init__(self, samples: int, *seed: int) -> None:
        self.samples, self.epoch = samples, 0
        self._seed = seed

    def __call__(self, epoch: int) -> Any:
        """A permutation of the sample indices, int64."""
        return np.random.default_rng((*self._seed, int(epoch))).permutation(self.samples)


def training_batches(
    samples: Samples, order: Order, batch: int, prepare: Callable[[Any, Any], Any], *, costly: bool, endless: bool
) -> tuple[Any, int]:
    """A tf.data.Dataset, and its batches per epoch; `prepare(named, y)` maps a batch, on several cores when it is costly.

    Endless: epoch after epoch from the current one on, which spares a new iterator for each (20 ms). Else each pass
    over the dataset is the epoch that is current when it begins.
    """
    steps = -(-len(samples) // batch)
    if endless:
        epochs = tf.data.Dataset.counter(order.epoch)
        passes = epochs.map(plain(lambda epoch: _known(tf.numpy_function(order, [epoch], tf.int64), (len(samples),))))
    else:
        once = tf.data.Dataset.from_tensors(0)
        passes = once.map(
            plain(lambda _: _known(tf.numpy_function(lambda: order(order.epoch), [], tf.int64), (len(samples),)))
        )
    cut = passes.flat_map(
        plain(lambda index: tf.data.Dataset.range(steps).map(plain(lambda i: index[i * batch : (i + 1) * batch])))
    )
    batches = _finish(cut, samples, prepare, costly=costly)
    return batches if endless else batches.apply(tf.data.experimental.assert_cardinality(steps)), steps


def validation_batches(samples: Samples, batch: int, prepare: Callable[[Any, Any], Any]) -> tuple[Any, int]:
    """A tf.data.Dataset over all samples once, in their own order, and the number of its batches."""
    rows = max(batch, big_batch(samples))
    steps = -(-len(samples) // rows)
    cut = tf.data.Dataset.range(steps).map(
        plain(lambda step: tf.range(step * rows, tf.minimum((step + 1) * rows, len(samples))))
    )
    return _finish(cut, samples, prepare, costly=False), steps


def big_batch(samples: Samples) -> int:
    """Rows in a batch that is not trained on: few enough to stay small, many enough to be quick."""
    return int(max(1, min(MAX_ROWS, BATCH_BYTES // max(1, samples.bytes // len(samples)))))


def _finish(cut: Any, samples: Samples, prepare: Callable[[Any, Any], Any], *, costly: bool) -> Any:
    take = plain(_from_disk(samples) if samples.bytes > STREAM_BYTES else _from_memory(samples))
    prepare = prepare if costly else plain(prepare)
    return (
        cut.map(take).map(prepare, num_parallel_calls=tf.data.AUTOTUNE if costly else None).prefetch(tf.data.AUTOTUNE)
    )


def _from_memory(samples: Samples) -> Callable[[Any], Any]:
    x = {name: tf.constant(array) for name, array in samples.x.items()}
    y = tf.constant(samples.y)
    return lambda index: ({name: tf.gather(each, index) for name, each in x.items()}, tf.gather(y, index))


def _from_disk(samples: Samples) -> Callable[[Any], Any]:
    """Rows straight from the memory map, read in the order of the file, given in the order that was asked for."""
    kinds = [tf.string if each.dtype == "string" else tf.as_dtype(each.dtype) for each in samples.inputs]
    arrays = [*(samples.x[each.name] for each in samples.inputs), samples.y]

    def read(index: Any) -> list[Any]:
        order = np.argsort(index)
        back = np.argsort(order)
        rows = [np.asarray(each[index[order]])[back] for each in arrays]
        return [each.astype(object) if each.dtype.kind == "U" else each for each in rows]

    def take(index: Any) -> Any:
        *rows, y = tf.numpy_function(read, [index], [*kinds, tf.as_dtype(samples.y.dtype)])
        named = {
            spec.name: _known(each, (None, *samples.x[spec.name].shape[1:]))
            for spec, each in zip(samples.inputs, rows, strict=True)
        }
        return named, _known(y, (None,))

    return take


def _known(tensor: Any, shape: tuple[int | None, ...]) -> Any:
    tensor.set_shape(shape)
    return tensor
