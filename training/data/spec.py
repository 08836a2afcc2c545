"""What a dataset looks like to a model: the `spec` that `build_model(spec, attempt)` receives, and the prepared splits.

A prepared split is a folder, the same for every format:

    data.json     this spec
    names.json    the samples' names, in order
    x0.npy …      one array per input, in the order of `spec.inputs`; the first axis is the sample
    d0.npy …      one array of texts per column of dates, whose parts are inputs
    y.npy         int64 class indices, or float32 targets: with several of them one column each; of multi-label float32 0 and 1, a
                  column per label; of anomalies float32: in the holdout 1 for one, 0, or NaN (not known), in the others 0
    files/        the samples in the dataset repository's own format, when `load_data(folder)` or an own script reads them
"""

from __future__ import annotations

import json
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from registry import codec
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.records import DatasetTree, DateColumn, ImagePreparation, Task, TensorSpec, TextRules
from registry.records.names import keras_name

SplitName = Literal["train", "validation", "holdout"]
Missing = Literal["refuse", "drop", "keep", "impute"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "holdout")


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """What goes into the prepare worker. Its folder holds `inputs/dataset`, the dataset repository's files."""

    dataset: str = "dataset"
    """What to call the dataset in reports."""
    files: bool = True
    """Whether `files/` of the splits are read, so that they have to be written."""
    processes: int = 0
    """How many processes read images; 0: one per core."""
    row_keys: int = 0
    """Up to how many samples their keys are listed."""


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """What is wrong with the data, as one check found it: how often, the first few places, and what to do."""

    check: str
    count: int
    messages: tuple[str, ...]
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Validation:
    """What the prepare worker found. When `ok` the splits are in `outputs/data/{train,validation,holdout}`;
    otherwise checks have failed, nothing was prepared and nothing must be trained."""

    ok: bool
    dataset: str
    format: Literal["images", "table", "npz"]
    samples: dict[str, int]
    """Split → samples."""
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Split → class, or label → samples that have it; of anomalies, how many are marked as what; empty for regression."""
    faults: tuple[FailedCheck, ...] = ()
    """The checks that failed; the name is the one that files of older versions have."""
    notes: tuple[str, ...] = ()
    """Worth knowing, no reason to stop."""
    read_as: tuple[str, ...] = ()
    """How the text files of a table were read: delimiter, decimal mark, encoding."""
    task: Task = "classification"
    """What is predicted; files of earlier versions do not say it."""
    tree: DatasetTree | None = None
    """What the lists `dataset.files.gz` and `dataset.keys` beside this hold; None when checks have failed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One feature of a table, with what preprocessing inside the model needs; measured on the train split only.

    A categorical value is text as the file has it; a bool is `true` or `false`, a whole number its digits.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    mean: float = 0.0
    variance: float = 1.0
    vocabulary: tuple[str, ...] = ()
    """The values of a categorical column in the train split, sorted."""
    common: tuple[str, ...] = ()
    """Those of them that a handful of the train split's samples share: no other is ever shown to anybody."""
    shares: tuple[float, ...] = ()
    """Of the train split's samples: how many have each of `common`, in its order. Empty, as `levels`: not known."""
    levels: tuple[float, ...] = ()
    """How a numeric column is distributed: the means of up to 20 groups of a handful or more of its sorted values."""
    has_missing: bool = False
    """Whether some row of the dataset lacks a value: `[table] missing` is "keep" or "impute". All statistics are of the values
    that are there."""
    median: float = 0.0
    """Of a numeric column with missing values; where a handful of rows do not share it, the mean of those in the middle."""
    mode: str = ""
    """Of a categorical column with missing values: the most frequent value, of several the first in `vocabulary`."""

    @property
    def input_name(self) -> str:
        """A name for its `keras.Input`, which Keras carries whatever the column is called."""
        return keras_name(self.name)


@dataclass(frozen=True, slots=True)
class DataSpec:
    """One dataset commit, as far as a model needs to know it."""

    format: Literal["images", "table", "npz"]
    task: Task
    inputs: tuple[TensorSpec, ...]
    """images: one, `image`, (None, height, width, channels), uint8 0–255; table: one per column, (None, 1), float32 or
    string, named like the column; npz: one per array."""
    classes: tuple[str, ...] = ()
    """Names of the classes, or of the labels, in the order of the model's outputs; empty for regression."""
    columns: tuple[Column, ...] = ()
    target: str = ""
    """The column or array that is to be predicted; empty where `targets` are columns."""
    image_mode: Literal["", "L", "RGB"] = ""
    train_samples: int = 0
    split: str = ""
    """The rule of the split: where this differs, a sample of one holdout may be a training sample of the other."""
    preparation: ImagePreparation | None = None
    """What was done to the image files; null: they are as they were."""
    missing: Missing = "refuse"
    """What `[table] missing` says. With "impute", a missing value is replaced by its column's `median` or `mode` before it
    reaches the model, in training and in what is served; with "keep" it reaches the model as NaN, or as the empty text."""
    moving: bool = False
    """Whether a sample may come into another split when the dataset changes."""
    dates: tuple[DateColumn, ...] = ()
    """The columns of dates, of which `inputs` and `columns` have the parts."""
    boundaries: tuple[str, ...] = ()
    """With a split by time: from which time on samples are in the validation split, and in the holdout."""
    targets: tuple[str, ...] = ()
    """Of several numbers per sample, what each is called, in the order of the columns of y; empty: there is one, or classes."""
    target_means: tuple[float, ...] = ()
    """Of the numbers that are to be predicted, one or several, in the train split; empty for classes."""
    target_deviations: tuple[float, ...] = ()
    """Their standard deviations."""
    ordered: bool = False
    """Whether the classes have an order, that of `classes`."""
    threshold: float = 0.5
    """Of multi-label: a label applies from this probability on."""
    text: TextRules | None = None
    """Of a table: how its text files are written, as far as `[table]` declares it; null: nothing is declared."""
    quantile: float = 0.99
    """Of anomalies: a sample is one when its score is over that of this share of the train split."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of one sample of the only input, e.g. (28, 28, 1)."""
        if len(self.inputs) != 1:
            raise ConfigError(
                f"spec.input_shape: there are {len(self.inputs)} inputs", hint="use spec.inputs or spec.columns"
            )
        return self.inputs[0].shape[1:]


@dataclass(frozen=True, slots=True)
class Split:
    """One prepared split. Arrays are memory-mapped: nothing is read until it is used."""

    spec: DataSpec
    names: tuple[str, ...]
    x: dict[str, Any]
    """Input name → numpy array of shape (samples, *input.shape[1:]) and the input's dtype; strings have a `U` dtype."""
    y: Any
    """numpy array, int64 (samples,) class indices or float32 (samples,) targets; with several (samples, targets); of multi-label
    float32 (samples, labels)."""
    folder: Path
    dates: dict[str, Any] = field(default_factory=dict)
    """Column of dates → numpy array of shape (samples, 1) with their texts; the empty one: missing."""

    @property
    def files(self) -> Path:
        """See `sample_files`."""
        return sample_files(self.folder)


def load_split(folder: Path) -> Split:
    """Open the prepared split in `folder`; raises FileNotFoundError or Corrupt."""
    import numpy as np

    spec = codec.read(DataSpec, folder / "data.json")
    names = tuple(json.loads((folder / "names.json").read_text(encoding="utf-8")))
    x = {each.name: np.load(folder / f"x{i}.npy", mmap_mode="r") for i, each in enumerate(spec.inputs)}
    dates = {each.name: np.load(folder / f"d{i}.npy", mmap_mode="r") for i, each in enumerate(spec.dates)}
    return Split(spec, names, x, np.load(folder / "y.npy", mmap_mode="r"), folder, dates)


def sample_files(folder: Path) -> Path:
    """The samples of the prepared split in `folder` as files of the dataset's own format; raises ConfigError when they
    were not wanted when it was prepared."""
    files = folder / "files"
    if not files.is_dir():
        raise ConfigError(
            f"the {folder.name} split was prepared without the dataset's files, as neither model.py nor trainyard.toml "
            "seemed to read them",
            hint="mention load_data in a .py file of the code repository; after a change of [training] command: "
            "`trainyard run code --force`",
        )
    return files
