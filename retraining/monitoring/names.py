"""Which field of the prediction log is which column: the same names in a reference and in every window. Pure, and light.

* `inputs.mass`: a number, or a text, that is kept by `value`; `inputs.mass.bin`: the same input kept by `bin`, as categories
* `inputs.scan.brightness`: a feature of an image or an array; `inputs.scan.hues[3]`: one number of a feature that is a list
* `inputs.signal[3]`, `outputs.probabilities[3]`: one number of an array that is kept by `value`
* `outputs.scores.top[0]`, `outputs.scores.values[0]`: of a long output, where its largest number is, and how large
* `class`, `confidence`

A keyed hash, and the perceptual hash of an image, make none: they say only what is equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from registry.dataclass import dataclass

Kind = Literal["numbers", "categories"]
REFERENCE_FILE = "reference.npz"
"""Beside the model, among the files of its version; versions of earlier Trainyards have none."""
CLASS = "class"
CONFIDENCE = "confidence"
BIN = "bin"
LIST = "[]"
CATEGORICAL = frozenset({"text", "bool"})
"""Types of a header whose values are categories; those of the other types are numbers."""
WITHOUT_MEANING = frozenset({"hash"})
"""Features that make none."""


@dataclass(frozen=True, slots=True)
class LogField:
    """One field of a line: a column, or a column for each place of its list."""

    name: str
    kind: Kind
    path: tuple[str, ...]
    """Its keys in a line, from the outside: `("inputs", "scan", "brightness")`."""
    type: str
    """As the header has it: `float`, `text[]`."""

    @property
    def is_list(self) -> bool:
        """Whether a line has a list of values there."""
        return self.type.endswith(LIST)

    def at(self, place: int) -> str:
        """The name of the column of one place of its lists, from 0."""
        return f"{self.name}[{place}]"

    def columns(self, known: Collection[str]) -> Iterator[tuple[str, int | None]]:
        """Those of its columns that are among the names `known`, each with its place; None: it is not a list."""
        if not self.is_list:
            yield from ((name, None) for name in (self.name,) if name in known)
            return
        place = 0
        while self.at(place) in known:
            yield self.at(place), place
            place += 1


CLASS_FIELD = LogField(CLASS, "categories", (CLASS,), "text")
CONFIDENCE_FIELD = LogField(CONFIDENCE, "numbers", (CONFIDENCE,), "float")


def log_fields(header: Mapping[str, Any]) -> Iterator[LogField]:
    """The fields that are columns, by the header of a segment (docs/reference/prediction-log.md). `class` and `confidence` are
    always among them; lines may lack them."""
    for side in ("inputs", "outputs"):
        for name, facts in header[side].items():
            yield from fields_of((side, name), facts["kept"], facts["type"])
    yield CLASS_FIELD
    yield CONFIDENCE_FIELD


def fields_of(path: tuple[str, str], kept: str, kind: Any) -> Iterator[LogField]:
    """The fields that are columns of one input or output (`path`), which the header describes by `kept` and a type."""
    name = ".".join(path)
    if kept == "hash":
        return
    if isinstance(kind, Mapping):
        for feature, each in kind.items():
            if feature not in WITHOUT_MEANING:
                places = feature == "top"  # whole numbers, of which none is larger than another
                yield _field(f"{name}.{feature}", (*path, feature), each, categorical=places)
    elif kept == BIN:
        yield _field(f"{name}.{BIN}", path, kind, categorical=True)
    else:
        yield _field(name, path, kind)


def category(value: object) -> str:
    """The name of a value among categories: a text as it is, a bool `true` or `false`, a whole number its digits. Arrow's cast
    of a column to strings gives the same."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field(name: str, path: tuple[str, ...], kind: str, *, categorical: bool = False) -> LogField:
    categorical = categorical or kind.removesuffix(LIST) in CATEGORICAL
    return LogField(name, "categories" if categorical else "numbers", path, kind)
