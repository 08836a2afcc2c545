"""The section `[npz]` of `dataset.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from registry.records import Task
from training.data.toml_values import TASK, Check, about_task, fraction, names, one_of, paths, targets, text


@dataclass(frozen=True, slots=True)
class Npz:
    """NumPy archives; the first axis of each array is the sample."""

    files: tuple[str, ...] = ("*.npz",)
    x: tuple[str, ...] = ("x",)
    y: str = "y"
    """Of anomalies it may be empty: nobody has marked any."""
    task: Task = "classification"
    threshold: float = 0.5
    """Of multi-label: a label applies from this probability on."""
    quantile: float = 0.99
    """Of anomalies: a sample is one when its score is over that of this share of the train split."""
    group: str = ""
    duplicates: Literal["refuse", "allow"] = "refuse"
    """`allow`: samples with equal arrays are different things that happen to look the same."""
    targets: tuple[str, ...] = ()
    """What the columns of y are called; empty: `y[0]`, `y[1]`, …, where there are several."""


def errors_of(npz: Mapping[str, Any], classes: Sequence[str]) -> Iterator[str]:
    """What does not go together in `[npz]`, which holds good values only, and `classes` beside it."""
    yield from about_task("npz", npz)
    if npz.get("task") == "multi-label" and not classes:
        yield 'classes: missing; with task = "multi-label" they are the names of the labels, in the order of the columns of y'


NPZ: dict[str, Check] = {
    "files": paths,
    "x": names,
    "y": text,
    "targets": targets,
    "task": TASK,
    "threshold": fraction,
    "quantile": fraction,
    "group": text,
    "duplicates": one_of("refuse", "allow"),
}
