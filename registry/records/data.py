"""What goes into a model and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from registry.dataclass import dataclass
from registry.records.names import keras_name, tensor_name_of_old, tensor_names

Task = Literal["classification", "regression", "multi-label", "anomaly"]
"""What is predicted of a sample: one of several classes, a number, which of several labels it has, or how unusual it is."""
SCORE, ANOMALOUS, THRESHOLD = "score", "anomalous", "threshold"
"""What an answer about an anomaly holds; the first one is the model's own output."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output. `shape[0]` is the batch: null (any)."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    """NumPy's name (`float32`, `uint8`, `int32`, …) or `string`."""
    low: float | None = None
    """The smallest value that a request may hold; null: any finite one."""
    high: float | None = None

    tensor_name: str = ""
    """What the served file calls it; empty: as `registry.records.names.tensor_name_of_old` says."""
    may_miss: bool = False
    """Whether a value may be missing: null in a request, for the model NaN or the empty text."""
    longest: int | None = None
    """Characters that a text may have; null: 10,000."""

    @property
    def tensor(self) -> str:
        """What the served file calls it: its name, or, for one that TensorFlow cannot carry, an identifier made of it."""
        return self.tensor_name or tensor_name_of_old(self.name)

    @property
    def input_name(self) -> str:
        """A name for its `keras.Input`, which Keras carries whatever the column or the array is called."""
        return keras_name(self.name)


def with_tensor_names(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs of a model that is about to be exported, each with a name that the served file can carry."""
    named = zip(inputs, tensor_names([each.name for each in inputs]), strict=True)
    return tuple(
        replace(each, tensor_name="" if tensor == tensor_name_of_old(each.name) else tensor) for each, tensor in named
    )


ImageFormat = Literal["png", "jpeg", "webp", "bmp", "tiff"]
Convertible = Literal["grey", "rgb", "palette", "cmyk", "16-bit", "1-bit"]


@dataclass(frozen=True, slots=True)
class ImagePreparation:
    """What is done to an image file before the model sees its pixels, in training and wherever it answers: the settings of
    `[images]` in dataset.toml. Those of whole PNG and JPEG files in the model's own size and mode are all defaults."""

    formats: tuple[ImageFormat, ...] = ("png", "jpeg")
    convert: tuple[Convertible, ...] = ()
    """What is converted to the model's mode, which is taken in any case."""
    background: tuple[int, int, int] | None = None
    """Red, green and blue, 0 to 255: what transparent parts are laid on, and what `pad` adds (null: black); null: transparency
    is refused."""
    exif: Literal["ignore", "turn"] = "ignore"
    frames: Literal["refuse", "first"] = "refuse"
    """Of files with several images, such as animations."""
    resize: tuple[int, int] | None = None
    """(height, width) in pixels; null: nothing is resized."""
    fit: Literal["stretch", "pad", "crop"] = "stretch"


@dataclass(frozen=True, slots=True)
class DateColumn:
    """A column of a table that holds dates: a request has their text, and the model gets numbers, each an input of its own."""

    name: str
    written: str = ""
    """As Python's `strptime` has it; empty: as ISO 8601 writes it."""
    parts: tuple[str, ...] = ("days",)
    """What the model gets: see `training.data.dates`."""

    @property
    def features(self) -> tuple[str, ...]:
        """The names of these inputs."""
        return tuple(f"{self.name} {part}" for part in self.parts)


@dataclass(frozen=True, slots=True)
class TextRules:
    """How text files write columns and numbers: the settings of `[table]` in a dataset.toml, by the same names."""

    delimiter: str = ""
    decimal: Literal[".", ","] = "."
    thousands: str = ""
    encoding: str = ""
    na: tuple[str, ...] | None = None
    quote: str = '"'
    comment: str = ""
    skip_rows: int = 0


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into a model and what comes out, in the order and under the names the served file uses."""

    task: Task
    kind: Literal["image", "table", "array"]
    """How a person sends one sample: an image, named columns, or bare numbers."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    classes: tuple[str, ...] = ()
    """Names of the classes, or of the labels, by output index; empty for regression."""
    image_mode: Literal["", "L", "RGB"] = ""
    target: str = ""
    """The predicted column of a table."""
    preparation: ImagePreparation | None = None
    """Of image files; null: PNG and JPEG of the model's own size, as they are."""
    targets: tuple[str, ...] = ()
    """Of several numbers per sample, what each is called, in the order of the output; empty: there is one, or classes."""
    dates: tuple[DateColumn, ...] = ()
    """The inputs that are dates, written as texts."""
    features: tuple[TensorSpec, ...] = ()
    """What the served file takes where some inputs are dates: their parts in their places. Empty: `inputs`."""
    ordered: bool = False
    """Whether the classes have an order, that of `classes`."""
    threshold: float = 0.5
    """Of multi-label: a label applies from this probability on. Of anomalies: a score over it is one."""
    text: TextRules | None = None
    """Of a table: how the dataset's files are written. Null: nothing was declared, or an earlier version of Trainyard made it."""

    @property
    def answered(self) -> Signature:
        """With all that an answer holds: of anomalies, beside the score, whether it is one, and the threshold."""
        if self.task != "anomaly" or len(self.outputs) > 1:
            return self
        decided = TensorSpec(ANOMALOUS, (None,), "bool"), TensorSpec(THRESHOLD, (None,), "float32")
        return replace(self, outputs=(replace(self.outputs[0], shape=(None,)), *decided))

    @property
    def in_parts(self) -> Signature:
        """That of the served file."""
        return replace(self, inputs=self.features, dates=(), features=()) if self.dates else self

    def with_dates(self, dates: Sequence[DateColumn]) -> Signature:
        """Where this is that of a served file: what a request holds in place of parts of dates."""
        names = {each.name for each in self.inputs}
        found = tuple(each for each in dates if names >= set(each.features))
        if not found:
            return self
        first = {each.features[0]: each.name for each in found}
        parts = {name for each in found for name in each.features}
        inputs = (
            TensorSpec(first[each.name], (None, 1), "string", may_miss=each.may_miss) if each.name in first else each
            for each in self.inputs
            if each.name in first or each.name not in parts
        )
        return replace(self, inputs=tuple(inputs), dates=found, features=self.inputs)


@dataclass(frozen=True, slots=True)
class DatasetLabels:
    """The answers of an API that became samples of a dataset, because people labelled them."""

    samples: int
    people: dict[str, int]
    """Who labelled them → how many; those with the most, 50 at most."""


@dataclass(frozen=True, slots=True)
class DatasetTree:
    """Of what a dataset commit was made: its files, and the keys of its samples. The lists lie beside the manifest; see
    `registry.dataset_lists`."""

    digest: str
    """SHA-256 of the list of files: the same for the same files, whatever the commit."""
    files: int
    bytes: int
    keys: int | None = None
    """Entries in the list of keys; null: it is not kept, as there are more than `[lineage] row_keys`."""
