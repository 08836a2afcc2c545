"""An answered instance whose label was accepted, and what it becomes. An answer that cannot become a sample is left out with a
reason; no value is guessed."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from serving.prediction_log.rules import MOST_TEXT

MARK = "trainyard"
TWICE = "several requests had this id"
GONE = "its line is not in the prediction log any more"
NO_CLASS = "the dataset has no class"
ONE_NUMBER = "the dataset has several numbers per sample, and a label is one"
ADD_ROWS = "add such samples to the dataset by hand"
NO_IMAGE = 'its image is not kept: set [prediction_log] images = "file"'
UNKNOWN = {
    "hash": "is kept as a hash",
    "bin": "is kept as a bin",
    "no": "is not kept",
    "features": "is kept by its features only",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answered instance whose label was accepted."""

    request: str
    row: int
    label: str
    inputs: Mapping[str, Any]
    """By name, as the prediction log has them."""
    kept: Mapping[str, str]
    """Input → by which rule."""
    image: bytes | None = None
    """The PNG of an image, where it was kept."""
    at: datetime | None = None
    """When it was answered, UTC."""

    @property
    def key(self) -> str:
        """Its own among all samples."""
        return f"{self.request}/{self.row}"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the repository as it is to be."""

    file: str
    data: bytes
    samples: tuple[Labelled, ...]
    """Those that are new in it."""


@dataclass(slots=True)
class Parts:
    """What the answers have become."""

    files: list[Part] = field(default_factory=list)
    left_out: list[tuple[Labelled, str]] = field(default_factory=list)
    """With the reason."""


class Unusable(Exception):
    """Why one answer cannot be a sample."""


def no_class(label: str) -> str:
    """Why an answer with this label cannot be a sample."""
    return f"{NO_CLASS} {label!r:.80}"


def goes_by(reason: str, *, declared: bool) -> Literal["declaration", "dataset", "log"]:
    """What must be another one before an answer that was left out for this reason is worth a try again: dataset.toml, any commit of the
    dataset, or the prediction log. `declared`: the classes are in dataset.toml."""
    if reason == GONE:
        return "log"
    return "dataset" if reason.startswith(NO_CLASS) and not declared else "declaration"


def value_of(each: Labelled, name: str, *, may_miss: bool = False) -> Any:
    """What the log kept of an input; None where that is missing, and it `may_miss`. Raises Unusable."""
    rule, value = each.kept.get(name, ""), each.inputs.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if rule in UNKNOWN and not (rule == "bin" and isinstance(value, str)):
        if rule == "bin" and not is_number:
            raise Unusable(f"its {name!r} is missing, or a value that few samples share, and is not kept")
        raise Unusable(f'its {name!r} {UNKNOWN[rule]}: set it to "value" in [prediction_log] columns')
    if not rule:
        raise Unusable(f"its {name!r} is not in the log")
    if may_miss and rule in {"value", "bin"} and value in {None, ""} and name in each.inputs:
        return None
    if value is None or (is_number and not math.isfinite(value)):
        raise Unusable(f"its {name!r} is missing")
    if isinstance(value, str) and len(value) >= MOST_TEXT:
        raise Unusable(f"its {name!r} is longer than the log keeps")
    return value


def new_name(patterns: Sequence[str], stamp: str) -> str | None:
    """A file that one of the patterns takes in; None when they name files one by one."""
    for pattern in patterns:
        folder, _, last = pattern.rpartition("/")
        if "*" not in last or any(each in folder for each in "*?["):
            continue
        name = last.replace("**", "*").replace("*", f"{MARK}-{stamp}", 1).replace("*", "")
        if fnmatch.fnmatch(name, last):
            return f"{folder}/{name}" if folder else name
    return None
