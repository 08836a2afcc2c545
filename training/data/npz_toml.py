"""The section `[npz]` of `dataset.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.records import Task
from training.data.toml_values import TASK, Check, names, one_of, paths, targets, text


@dataclass(frozen=True, slots=True)
class Npz:
    """NumPy archives; the first axis of each array is the sample."""

    files: tuple[str, ...] = ("*.npz",)
    x: tuple[str, ...] = ("x",)
    y: str = "y"
    task: Task = "classification"
    group: str = ""
    duplicates: Literal["refuse", "allow"] = "refuse"
    """`allow`: samples with equal arrays are different things that happen to look the same."""
    targets: tuple[str, ...] = ()
    """What the columns of y are called; empty: `y[0]`, `y[1]`, …, where there are several."""


NPZ: dict[str, Check] = {
    "files": paths,
    "x": names,
    "y": text,
    "targets": targets,
    "task": TASK,
    "group": text,
    "duplicates": one_of("refuse", "allow"),
}
