"""How the named arrays of a dataset go into a model, and what its answers are called.

What is served always takes the dataset's own names (`image`, the columns of a table), whatever the model calls its
inputs, and always answers a classification, or labels, with one probability per class or label, and a regression with one
number, or one per target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from registry.errors import ConfigError
from registry.records import Signature, TensorSpec, with_tensor_names
from training.anomaly import END_OF_SCORES
from training.data.spec import Column, DataSpec
from training.model.samples import Samples, big_batch, output_of, signature_of
from training.multi_label import END_OF_LABELS

TRIED = 2
"""Samples that are run through a fresh model before it is trained."""
Shape = tuple[int | None, ...]
SHAPE_HINT = "let build_model(spec, attempt) take the shapes from spec.inputs"
MOST_CATEGORIES, MOSTLY = 1000, 0.5
UNKNOWN = "[UNK]"
"""What Keras' StringLookup calls any text that it does not know."""
FLAT = 2
"""Dimensions of an output with one row per sample."""
OF_A_SCRIPT = (
    "the API gives the model each sample as the dataset has it, as in TRAINYARD_DATA: put what the script does to it "
    "(resize, scale, flatten) into the model as layers"
)
"""In place of the hint above: a script has no `build_model`."""


@dataclass(frozen=True, slots=True)
class Fill:
    """What is in the place of a missing value of a column."""

    value: float | str
    categories: tuple[str, ...] = ()
    """All that a column of categories has; any other text becomes UNKNOWN."""

    def __call__(self, tensor: Any) -> Any:
        """The tensor, shape (rows, 1), without NaN or the empty text. Filled twice is filled once.

        LiteRT cannot choose between texts, but compare them, and take one by its number.
        """
        if not isinstance(self.value, str):
            return tf.where(tf.math.is_nan(tensor), tf.constant(self.value, tensor.dtype), tensor)
        if not self.categories:
            return tf.where(tensor == "", tf.constant(self.value), tensor)
        numbers = tf.range(1, len(self.categories) + 2)[None, :]
        number = tf.where(tensor == tf.constant([[*self.categories, ""]]), numbers, 0)
        texts = tf.constant([UNKNOWN, *self.categories, self.value])
        return tf.gather(texts, tf.reduce_sum(number, axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Wiring:
    """One model and the inputs it is served with: the dataset's names, in the dataset's order, the model's dtypes."""

    model: Any
    spec: DataSpec
    inputs: tuple[TensorSpec, ...]
    form: Literal["tensor", "columns", "dict", "tuple"]
    """What the model takes: one tensor, one tensor of all columns side by side, a dict by name, or several in a row."""
    order: tuple[str, ...] = ()
    """The names in the order of the row."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The dataset's name of each entry of the dict → the model's."""
    fill: Mapping[str, Fill] = field(default_factory=dict)
    """By the dataset's name; inputs without an entry reach the model as they are."""

    @property
    def output(self) -> str:
        """The name of the only output."""
        return output_of(self.spec)

    def cast(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors in the dtypes of the model, missing values filled in; strings stay strings."""
        named = self._filled(named)
        return {
            each.name: named[each.name] if each.dtype == "string" else tf.cast(named[each.name], each.dtype)
            for each in self.inputs
        }

    def arrange(self, named: Mapping[str, Any]) -> Any:
        """The tensors in the structure that the model takes, missing values filled in."""
        named = self._filled(named)
        if self.form == "tensor":
            return named[self.inputs[0].name]
        if self.form == "columns":
            return tf.concat([named[each.name] for each in self.inputs], axis=1)
        if self.form == "tuple":  # a list would be stacked by tf.data
            return tuple(named[name] for name in self.order)
        return {self.keys.get(name, name): each for name, each in named.items()}

    def _filled(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.fill[name](tensor) if name in self.fill else tensor for name, tensor in named.items()}

    def answer(self, output: Any) -> Any:
        """float32 probabilities (rows, classes), or predictions (rows, 1) or (rows, targets), from what the model gives.

        A single number for two classes is the probability of the second one.
        """
        tensor = tf.cast(tf.nest.flatten(output)[0], tf.float32)
        if len(tensor.shape) == 1:
            tensor = tensor[:, None]
        if self.spec.task == "classification" and tensor.shape[-1] == 1:
            return tf.concat([1 - tensor, tensor], axis=-1)
        return tensor

    def arrays(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Numpy arrays in the dtypes of the served inputs."""
        return {
            each.name: named[each.name] if each.dtype == "string" else named[each.name].astype(each.dtype)
            for each in self.inputs
        }


def wire(model: Any, spec: DataSpec, samples: Samples, origin: str, *, of_a_script: bool = False) -> Wiring:
    """Find out how the samples go into the model, and try it on two of them.

    Raises ConfigError, naming `origin` (where the model comes from), when inputs or outputs do not fit the dataset.
    """
    try:
        return _wire(model, spec, samples)
    except ConfigError as error:
        hint = error.hint
        if of_a_script:
            hint = OF_A_SCRIPT if hint == SHAPE_HINT else hint.replace("len(spec.classes)", str(len(spec.classes)))
            hint = hint.replace("name=column.input_name", "name=…").replace("len(spec.targets)", str(len(spec.targets)))
        raise ConfigError(f"{origin}: {error}", hint=hint) from error


def _wire(model: Any, spec: DataSpec, samples: Samples) -> Wiring:
    model = _build(model, samples)
    wiring = _inputs(model, spec, samples)
    fill = {} if samples.loaded else filled_in(spec)
    wiring = replace(wiring, inputs=with_tensor_names(wiring.inputs), fill=fill)
    rows = {name: tf.constant(each) for name, each in wiring.arrays(samples.rows(slice(0, TRIED))).items()}
    try:
        output = model(wiring.arrange(rows), training=False)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"the model does not take the dataset's samples ({_shapes(samples.inputs)}): {text:.400}",
            hint=SHAPE_HINT,
        ) from error
    _check_output(output, wiring, min(TRIED, len(samples)))
    if spec.missing == "keep" and not samples.loaded:
        _check_takes_holes(wiring, samples)
    return wiring


def _check_takes_holes(wiring: Wiring, samples: Samples) -> None:
    """Raise ConfigError when a missing number alone makes the model's answer NaN: nothing could be learned from it."""
    holes = [each for each in wiring.spec.columns if each.has_missing and each.kind == "numeric"]
    rows = {name: np.repeat(each, len(holes) + 1, axis=0) for name, each in samples.rows(slice(0, 1)).items()}
    for i, column in enumerate(holes):  # the row behind the others has all values
        rows[column.name][:] = column.median
        rows[column.name][i] = np.nan
    found = wiring.model(
        wiring.arrange({n: tf.constant(each) for n, each in wiring.arrays(rows).items()}), training=False
    )
    finite = np.isfinite(np.asarray(wiring.answer(found))).all(axis=1)
    if finite[-1] and (without := [each.name for each, takes in zip(holes, finite, strict=False) if not takes]):
        raise ConfigError(
            f'the model answers NaN where {_some(without)} is missing, which [table] missing = "keep" lets through',
            hint="fill it in inside the model: keras.ops.where(keras.ops.isnan(x), column.median, x); or set [table] "
            'missing = "impute" in dataset.toml, which does so',
        )


def _some(names: list[str]) -> str:
    more = f" or {len(names) - 3} other columns" if len(names) > 3 else ""
    return " or ".join(map(repr, names[:3])) + more


def filled_in(spec: DataSpec) -> dict[str, Fill]:
    """Column → what is in the place of a missing value, where `[table] missing` is "impute"."""
    columns = [each for each in spec.columns if each.has_missing and spec.missing == "impute"]
    return {each.name: Fill(each.median) if each.kind == "numeric" else _category(each) for each in columns}


def _category(column: Column) -> Fill:
    """Columns of which most values are rare hold texts, of which any may be new."""
    is_category = len(column.vocabulary) <= MOST_CATEGORIES and sum(column.shares) > MOSTLY
    return Fill(column.mode, column.vocabulary if is_category else ())


def signature(wiring: Wiring, samples: Samples) -> Signature:
    """What the API will take and give."""
    return signature_of(wiring.spec, samples, wiring.inputs, wiring.output)


def asking(wiring: Wiring) -> Callable[[dict[str, Any]], Any]:
    """A function for `answers`: the present answers of the model, as it predicts."""
    found: Callable[[dict[str, Any]], Any] = tf.function(
        lambda named: wiring.answer(wiring.model(wiring.arrange(named), training=False)), reduce_retracing=True
    )
    return found


def answers(function: Callable[[dict[str, Any]], Any], wiring: Wiring, samples: Samples) -> Any:
    """What `function` gives for all samples, float32 (samples, …), in batches of named tensors."""
    rows, parts = big_batch(samples), []
    for start in range(0, len(samples), rows):
        named = wiring.arrays(samples.rows(slice(start, start + rows)))
        parts.append(function({name: tf.constant(each) for name, each in named.items()}).numpy())
    return np.concatenate(parts)


def _build(model: Any, samples: Samples) -> Any:
    """Sequential models without an Input get their shape from the data; with a batch of any size."""
    import keras

    if isinstance(model, keras.Sequential) and not model.built and len(samples.inputs) == 1:
        model.build((None, *samples.inputs[0].shape[1:]))
    return model


def _inputs(model: Any, spec: DataSpec, samples: Samples) -> Wiring:
    names = tuple(each.name for each in samples.inputs)
    taken = getattr(model, "inputs", None)
    if taken is None:  # a subclass: it takes what it is given
        inputs = tuple(replace(each, dtype=_loose(each.dtype)) for each in samples.inputs)
        return Wiring(model, spec, inputs, "tensor" if len(inputs) == 1 else "dict")
    if len(taken) == 1 and len(names) == 1 and not isinstance(_structure(model), dict):
        return Wiring(model, spec, (_one(samples.inputs[0], taken[0]),), "tensor")
    if len(taken) == 1 and len(names) > 1:
        return Wiring(model, spec, _columns(samples.inputs, taken[0]), "columns")
    structure = _structure(model)
    by_key = structure if isinstance(structure, dict) else {each.name: each for each in taken}
    keys = _keys(samples.inputs, by_key)
    inputs = tuple(_one(each, by_key[keys[each.name]]) for each in samples.inputs)
    if isinstance(structure, dict):
        return Wiring(model, spec, inputs, "dict", keys=keys)
    names_of = {key: name for name, key in keys.items()}
    return Wiring(model, spec, inputs, "tuple", tuple(names_of[each.name] for each in taken))


def _keys(inputs: tuple[TensorSpec, ...], by_key: Mapping[str, Any]) -> dict[str, str]:
    """The dataset's name of each input → the model's: the same, or `input_name`, which Keras carries for any name."""
    for keys in ({each.name: each.input_name for each in inputs}, {each.name: each.name for each in inputs}):
        if set(keys.values()) == set(by_key):
            return keys
    mixed = {each.name: each.name if each.name in by_key else each.input_name for each in inputs}
    if set(mixed.values()) != set(by_key) or len(set(mixed.values())) < len(mixed):
        raise ConfigError(
            f"the model's inputs are {', '.join(sorted(by_key))}; the dataset has {', '.join(mixed)}",
            hint="name each keras.Input like the dataset's input: keras.Input((1,), name=column.input_name)",
        )
    return mixed


def _structure(model: Any) -> Any:
    import keras

    return None if isinstance(model, keras.Sequential) else model.input


def _one(have: TensorSpec, tensor: Any) -> TensorSpec:
    """The dataset's input with the dtype that the model wants, its open dimensions closed by the model's."""
    want = tuple(tensor.shape)
    fits = len(want) == len(have.shape) and all(
        None in {a, b} or a == b for a, b in zip(want[1:], have.shape[1:], strict=True)
    )
    if not fits or (tensor.dtype == "string") != (have.dtype == "string"):
        raise ConfigError(
            f"the model takes {tensor.dtype} {list(want)} as {have.name!r}; the dataset has {have.dtype} {list(have.shape)}",
            hint=SHAPE_HINT,
        )
    shape: Shape = (None, *(a if a is not None else b for a, b in zip(have.shape[1:], want[1:], strict=True)))
    _check_holes(have, tensor)
    return replace(have, shape=shape, dtype=_served(tensor.dtype), tensor_name="")


def _check_holes(have: TensorSpec, tensor: Any) -> None:
    """Raise ConfigError where a missing number could not reach the model's input."""
    if have.may_miss and have.dtype != "string" and not tf.as_dtype(tensor.dtype).is_floating:
        raise ConfigError(
            f"the model takes {tensor.dtype} as {have.name!r}, which has missing values: whole numbers cannot be NaN",
            hint="let its keras.Input be float32, and cast inside the model",
        )


def _columns(inputs: tuple[TensorSpec, ...], tensor: Any) -> tuple[TensorSpec, ...]:
    numeric = all(each.dtype != "string" and each.shape == (None, 1) for each in inputs)
    if not numeric or tensor.dtype == "string" or tuple(tensor.shape) != (None, len(inputs)):
        raise ConfigError(
            f"the model has one input, {tensor.dtype} {list(tensor.shape)}; the dataset has {_shapes(inputs)}",
            hint="give the model one keras.Input((1,), name=…, dtype=…) per column, or one of all columns if all are numeric",
        )
    for each in inputs:
        _check_holes(each, tensor)
    return tuple(replace(each, dtype=_served(tensor.dtype)) for each in inputs)


def _check_output(output: Any, wiring: Wiring, rows: int) -> None:
    found, spec = tf.nest.flatten(output), wiring.spec
    if len(found) != 1:
        raise ConfigError(
            f"the model has {len(found)} outputs",
            hint="one output: the classes' probabilities, or the number or numbers; several are not served: docs/reference/limits.md",
        )
    array = np.asarray(tf.cast(found[0], tf.float32))
    classes = len(spec.classes)
    several = len(spec.targets)
    shapes = [(rows, classes)] if classes else [(rows, 1), (rows,)]
    shapes += [(rows, 1)] * (classes == 2 and spec.task == "classification")
    if array.shape not in ([(rows, several)] if several else shapes):
        numbers = f"{several} numbers, one per target" if several else "one number"
        numbers = "one number, its score," if spec.task == "anomaly" else numbers
        of = "label" if spec.task == "multi-label" else "class"
        wanted = f"{classes} probabilities, one per {of}" if classes else numbers
        raise ConfigError(
            f"the model answers with shape {list(array.shape)} for {rows} samples; wanted: {wanted} per sample",
            hint=_output_hint(array.ndim, spec),
        )
    if not classes:
        return
    probabilities = np.asarray(wiring.answer(output))
    if spec.task == "multi-label":
        _check_labels(probabilities, wiring.model)
        return
    finite = np.isfinite(probabilities).all()
    if finite and (abs(probabilities.sum(axis=1) - 1).max() > 0.02 or probabilities.min() < 0):
        raise ConfigError(
            "the model's answers are not probabilities: they do not add up to 1",
            hint="end with a softmax (or one sigmoid for two classes), and compile with from_logits=False",
        )


def _check_labels(probabilities: Any, model: Any) -> None:
    """Raise ConfigError where the answers are not one probability per label, each on its own."""
    if np.isfinite(probabilities).all() and (probabilities.min() < 0 or probabilities.max() > 1):
        raise ConfigError("the model's answers are not probabilities: they are not between 0 and 1", hint=END_OF_LABELS)
    last = getattr(model, "layers", [None])[-1]
    if "softmax" in {getattr(getattr(last, "activation", None), "__name__", ""), type(last).__name__.lower()}:
        raise ConfigError(
            "the model ends with a softmax, whose answers add up to 1, so that the labels of a sample exclude each other",
            hint=END_OF_LABELS,
        )


def _output_hint(dimensions: int, spec: DataSpec) -> str:
    if spec.task == "anomaly":
        return END_OF_SCORES
    numbers = "Dense(len(spec.targets))" if spec.targets else "Dense(1)"
    kind = "sigmoid" if spec.task == "multi-label" else "softmax"
    end = f"Dense(len(spec.classes), activation='{kind}')" if spec.classes else numbers
    if dimensions <= FLAT:
        return f"end with {end}"
    return f"end with a Flatten or a global pooling and {end}; an answer per pixel or step is not served: docs/reference/limits.md"


def _served(dtype: Any) -> str:
    """A 16-bit input is served as float32; Keras casts it."""
    return "float32" if str(dtype) in {"float16", "bfloat16"} else str(dtype)


def _loose(dtype: str) -> str:
    return "float32" if dtype in {"uint8", "float64", "float16"} else dtype


def _shapes(inputs: tuple[TensorSpec, ...]) -> str:
    shown = ", ".join(f"{each.name} {each.dtype} {list(each.shape[1:])}" for each in inputs[:6])
    return shown + (f" and {len(inputs) - 6} more" if len(inputs) > 6 else "")
