"""From samples to batches of tensors.

What trains here can be read again there: the order of the samples is a function of seed, attempt and epoch alone, so a
run that was killed resumes with the same batches that it would have had.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from training.model.samples import Samples, big_batch

plain = tf.autograph.experimental.do_not_convert
"""For Trainyard's own functions of tensors: there is nothing in them to rewrite, and the search for it takes time."""


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


def _finish(cut: Any, samples: Samples, prepare: Callable[[Any, Any], Any], *, costly: bool) -> Any:
    take = plain(_from_memory(samples) if samples.fits_in_memory else _from_disk(samples))
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
        return named, _known(y, (None, *samples.y.shape[1:]))

    return take


def _known(tensor: Any, shape: tuple[int | None, ...]) -> Any:
    tensor.set_shape(shape)
    return tensor
