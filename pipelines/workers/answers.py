"""The answers of the measured models as files of arrays, for the team's `metrics.py`: beside each other, never pickled.

classes.json                                 the dataset's classes; empty for numbers
holdout/  recent/
    truth.npy, candidate.npy, live.npy       live: where it was measured on the same samples
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.dataclass import dataclass
from registry.errors import Corrupt
from training.metrics import Answers, Estimates, Graded, Wanted
from training.multi_label import LabelAnswers

Which = Literal["holdout", "recent"]
Whose = Literal["candidate", "live"]


@dataclass(frozen=True, slots=True)
class Kept:
    """One set of samples, as the functions get it: arrays that nobody may write to."""

    truth: NDArray[Any]
    """Indices of classes as int64, or numbers; of labels bool, shape (samples, labels). The first axis is the sample."""
    candidate: NDArray[Any]
    """Probabilities as float32, shape (samples, classes or labels), or numbers."""
    live: NDArray[Any] | None


def keep(folder: Path, which: Which, whose: Whose, of: Graded) -> None:
    """Write the answers of one model, and the truth."""
    (folder / which).mkdir(parents=True, exist_ok=True)
    given = of.predicted if isinstance(of, Estimates) else of.scores
    assert given is not None
    for name, array in (("truth", of.truth), (whose, given)):
        np.save(folder / which / f"{name}.npy", array, allow_pickle=False)


def keep_classes(folder: Path, classes: Sequence[str]) -> None:
    """Write the names of the classes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps(list(classes)), encoding="utf-8")


def without_kept(of: Graded, wanted: Wanted) -> Graded:
    """The same without probabilities that were only there to be kept: each resample of a bootstrap would copy them."""
    if isinstance(of, Answers | LabelAnswers) and not wanted.needs("scores"):
        return replace(of, scores=None, columns=())
    return of


def classes_of(folder: Path) -> tuple[str, ...]:
    """The names of the classes."""
    return tuple(json.loads((folder / "classes.json").read_text(encoding="utf-8")))


def kept(folder: Path, which: Which) -> Kept | None:
    """The arrays of one set of samples; None when there is none. Raises Corrupt for arrays that do not fit together."""
    at = folder / which
    if not (at / "candidate.npy").exists():
        return None
    names = [each for each in ("truth", "candidate", "live") if (at / f"{each}.npy").exists()]
    found = {name: np.load(at / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray) for name in names}
    if len({len(each) for each in found.values()}) != 1:
        raise Corrupt(f"{at}: the arrays are of different lengths")
    return Kept(found["truth"], found["candidate"], found.get("live"))
