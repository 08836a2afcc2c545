"""Which number of the model's answer is explained: the probability or score of a class or label, or a predicted value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from registry.records import Signature
from serving.engines.base import Array
from serving.probabilities import Form


class CannotExplain(ValueError):
    """There is nothing to explain, or not in the time that there is; the message is for the client."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Target:
    """One number per row."""

    output: str
    """The model's output."""
    index: int = 0
    """Which of its numbers."""
    name: str = ""
    """The class, or one of several targets; empty where there is none."""
    opposite: bool = False
    """1 minus the number: a model of two classes that gives the probability of the second one only."""
    kind: Literal["class", "target"] = "class"
    """What `name` names."""

    def of(self, outputs: Mapping[str, Array]) -> Array:
        """The number of each row, float64, shape (rows,)."""
        array = outputs[self.output]
        numbers: Array = array.reshape(len(array), -1)[:, self.index].astype(np.float64)
        return 1.0 - numbers if self.opposite else numbers


def choose_target(
    signature: Signature,
    forms: Mapping[str, Form],
    outputs: Mapping[str, Array],
    row: int,
    output: str = "",
    wanted: str = "",
) -> Target:
    """What is explained of row `row`: of the output called `output` (empty: the first) the class `wanted` (empty: the one that
    the model finds the most likely); of several targets the one called `wanted` (empty: the first); of several numbers without
    names the one at position `wanted` (empty: 0). `forms`
    are those of the model's outputs: they do not depend on the row, so that a number has the meaning that `/predict` gives it.

    Raises CannotExplain for what the model does not have.
    """
    names = [each.name for each in signature.outputs]
    if output and output not in names:
        raise CannotExplain(f"output {output[:80]!r}: not known", hint=f"outputs: {', '.join(names)}")
    name = output or names[0]
    found = outputs[name][row]
    if found.dtype.kind not in "fiub" or found.ndim > 1:
        raise CannotExplain(f"output {name}: only a number, or a list of numbers, per sample can be explained")
    numbers, classes = found.reshape(-1), signature.classes
    if forms[name] in {"distribution", "scores", "labels"}:
        index = _position(classes, wanted) if wanted else int(numbers.argmax())
        return Target(name, index, classes[index])
    if forms[name] == "second":
        index = _position(classes, wanted) if wanted else int(numbers[0] > 0.5)
        return Target(name, 0, classes[index], opposite=index == 0)
    if signature.targets and len(numbers) == len(signature.targets):
        index = _position(signature.targets, wanted, "target") if wanted else 0
        return Target(name, index, signature.targets[index], kind="target")
    if wanted and not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(numbers)):
        raise CannotExplain(f"class {wanted[:80]!r}: not known", hint=f"a position from 0 to {len(numbers) - 1}")
    return Target(name, int(wanted or 0))


def _position(names: tuple[str, ...], wanted: str, what: str = "class") -> int:
    if wanted not in names:
        known = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        several = "classes" if what == "class" else f"{what}s"
        raise CannotExplain(f"{what} {wanted[:80]!r}: not known", hint=f"{several}: {known}")
    return names.index(wanted)
