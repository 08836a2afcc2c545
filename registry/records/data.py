"""What goes into a model and what comes out."""

from __future__ import annotations

import hashlib
import keyword
from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "regression"]


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

    @property
    def tensor(self) -> str:
        """What the served file calls it: its name, or, for one that TensorFlow cannot carry, an identifier made of it."""
        if self.name.isascii() and self.name.isidentifier() and not keyword.iskeyword(self.name):
            return self.name
        return f"input_{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into a model and what comes out, in the order and under the names the served file uses."""

    task: Task
    kind: Literal["image", "table", "array"]
    """How a person sends one sample: an image, named columns, or bare numbers."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    classes: tuple[str, ...] = ()
    """Class names, by output index; empty for regression."""
    image_mode: Literal["", "L", "RGB"] = ""
    target: str = ""
    """The predicted column of a table."""
