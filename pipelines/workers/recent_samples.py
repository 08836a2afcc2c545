"""Reads what `pipelines.workers.recent` has left: labelled predictions as samples."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.engines.base import Array


def open_recent(folder: Path, classes: Sequence[str]) -> tuple[dict[str, Array], Array, tuple[str, ...]]:
    """Arrays by input and truth, int64 indices of `classes` or, without classes, float64 numbers; and what was left out."""
    found = json.loads((folder / "recent.json").read_bytes())
    labels, notes = [str(each) for each in found["labels"]], tuple(map(str, found["notes"]))
    truth = [_truth(each, classes) for each in labels]
    known = np.array([each is not None for each in truth], dtype=bool)
    if others := int((~known).sum()):
        notes = (f"{others} left out: their label is not one that the dataset has", *notes)
    x = {
        name: np.load(folder / f"x{place}.npy", allow_pickle=False)[known]
        for place, name in enumerate(found["inputs"])
        if labels
    }
    y = np.array([each for each in truth if each is not None], dtype=np.int64 if classes else np.float64)
    return x, y, notes


def _truth(text: str, classes: Sequence[str]) -> float | None:
    if classes:
        return classes.index(text) if text in classes else None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
