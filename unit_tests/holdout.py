"""The holdout as a team's tests see it: samples that `predict` takes, and what they should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from training.data.spec import Split, load_split

MARKS = {1.0: True, 0.0: False}


class HoldoutSamples(Sequence[Any]):
    """The samples in order, read when they are asked for: arrays for images and numbers, dicts for tables."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split.names)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        values = {name: array[index] for name, array in self._split.x.items()}
        if self._split.spec.format == "table":
            holes = {each.name for each in self._split.spec.columns if each.has_missing}
            row = {name: value.tolist()[0] for name, value in values.items()}
            return {
                name: None if name in holes and (value == "" or value != value) else value  # noqa: PLR0124  (NaN)
                for name, value in row.items()
            }
        return values if len(values) > 1 else next(iter(values.values()))


class Holdout:
    """`len(holdout)`, `for sample, label in holdout`, and the same in columns: `samples`, `labels`, `names`.

    A sample is what `predict` takes; its label a class name, a number for regression, or a dict of several targets: name → number.
    Of multi-label it is a tuple of names; of anomalies True, False, or None where nobody has said.
    """

    def __init__(self, folder: Path) -> None:
        split = load_split(folder)
        self.classes: tuple[str, ...] = split.spec.classes
        self.names: tuple[str, ...] = split.names
        self.samples = HoldoutSamples(split)
        y = split.y.tolist()
        self.labels: tuple[Any, ...] = tuple(y)
        if split.spec.targets:
            self.labels = tuple(dict(zip(split.spec.targets, each, strict=True)) for each in y)
        if split.spec.task == "classification":
            self.labels = tuple(self.classes[each] for each in y)
        if split.spec.task == "anomaly":
            self.labels = tuple(MARKS.get(each) for each in y)
        if split.spec.task == "multi-label":
            self.labels = tuple(tuple(name for name, has in zip(self.classes, row, strict=True) if has) for row in y)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return zip(self.samples, self.labels, strict=True)
