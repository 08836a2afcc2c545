"""Whether a registered version can be measured on a holdout, and on which samples: those that it has not learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.workers.compatibility import Array
from pipelines.workers.jobs import EvaluateJob, MeasuredModel
from registry import codec
from retraining.policy import LEARNED_UNKNOWN, RESPLIT, other_classes
from training.data.learned import learned_rows
from training.data.spec import DataSpec
from training.model.contract import FILE, offers


def unseen_rows(job: EvaluateJob, inputs: Path) -> Array | None:
    """Which samples of the holdout no measured version has learned from, as a NumPy array of bool; None: all of them. A version
    that is not comparable does not count, as it is not measured."""
    found = None
    for name, measured in (("candidate", job.candidate), ("live", job.live)):
        if measured and measured.version is not None and not not_comparable(measured, inputs, name, job.min_samples):
            rows = learned_rows(inputs / name, inputs / "holdout")
            if rows and any(rows):
                found = np.logical_not(rows) & (True if found is None else found)
    return found


def not_comparable(measured: MeasuredModel, inputs: Path, name: str, min_samples: int = 0) -> str:
    """Why a registered version's metrics on this holdout would mean nothing; empty when they are comparable."""
    if measured.version is None:
        return ""
    then, now = (codec.read(DataSpec, inputs / each / "data.json") for each in (name, "holdout"))
    if then.split != now.split:
        return RESPLIT
    if measured.signature.kind == "image" and then.preparation != now.preparation:
        return "dataset.toml has other [images] settings now than those by which its images are prepared"
    if why := other_classes(measured.signature.classes, now.classes):
        return why
    if measured.other_code and (has_load_data(inputs) or (measured.signature.kind == "array" and now.format != "npz")):
        return "it was made for another load_data"
    return _learned_too_much(inputs, name, now, min_samples) if now.moving else ""


def _learned_too_much(inputs: Path, name: str, now: DataSpec, min_samples: int) -> str:
    """Why too little of the holdout is left without what a version has learned from; empty when enough is."""
    rows = learned_rows(inputs / name, inputs / "holdout")
    if rows is None:
        return LEARNED_UNKNOWN
    y = np.load(inputs / "holdout" / "y.npy", mmap_mode="r")
    left = np.logical_not(rows)
    if left.all():
        return ""
    if has_load_data(inputs) or len(rows) != len(y):
        return f"it has learned from {sum(rows):,} samples of the holdout, which load_data may have changed"
    lost = now.task == "classification" and set(np.unique(y).tolist()) - set(np.unique(y[left]).tolist())
    if left.sum() < max(1, min_samples) or lost:
        return f"it has learned from {sum(rows):,} of the {len(rows):,} samples of the holdout: too few are left to compare"
    return ""


def has_load_data(inputs: Path) -> bool:
    """Whether the code repository reads the dataset by a `load_data` of its own."""
    code = inputs / "code"
    return (code / FILE).is_file() and offers(code, "load_data")
