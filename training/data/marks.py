"""Which samples are marked as anomalous: 1, 0, or NaN where nobody has said. A model is to learn what is usual from the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from training.data.checks import Checks, SampleList
from training.data.dataset_toml import DatasetFile, Npz
from training.data.npz_labels import USABLE

MARKS = "every mark is 0 or 1"
USUAL = "nothing that is learned from is marked as anomalous"
MARK_HINT = "store 1 where the sample is anomalous, 0 where it is not, and nothing where it is not known"


def usable(marks: Any, name: str, where: Callable[[int], str], checks: Checks) -> Any:
    """The marks as float64; None when one is anything but 0, 1 and NaN. `where` says in words where a row is."""
    checks.make(MARKS)
    marks = marks.astype(np.float64)
    if len(wrong := np.flatnonzero(~(np.isnan(marks) | (marks == 0) | (marks == 1)))):
        message = f"{name!r} is {marks[wrong[0]]:g} in {where(int(wrong[0]))}"
        checks.fail(MARKS, message, MARK_HINT, len(wrong))
        return None
    return marks


def read_marks(file: str, y: Any, settings: DatasetFile, checks: Checks) -> Any:
    """The array y of a NumPy archive, an entry per sample; None when it cannot be used."""
    assert isinstance(settings.source, Npz)
    name = settings.source.y
    if y.dtype.kind not in "biuf" or y.size != len(y):
        message = f"{file}: {name!r} has shape {y.shape} and dtype {y.dtype}; one mark per sample is wanted"
        checks.fail(USABLE, message, f"{MARK_HINT} (NaN), or leave `y` out")
        return None
    return usable(y.reshape(len(y)), name, lambda row: f"{file} row index {row}", checks)


def that_stay(samples: SampleList, settings: DatasetFile, checks: Checks) -> Any:
    """The positions of the samples that are used: those that are marked as anomalous are in the holdout alone. Where dataset.toml
    itself puts one into another split, that is an error; by any other rule of the split it is left out."""
    assert samples.marked is not None
    if checks.failed:
        return np.arange(len(samples.names))
    checks.make(USUAL)
    held = np.array([split == "holdout" for split in samples.splits], dtype=bool)
    marked = samples.marked == 1
    away = np.flatnonzero(marked & ~held)
    if len(away):
        many = f"{len(away):,} {'samples' if len(away) > 1 else 'sample'}"
        first = f"the first: {samples.called(int(away[0]))} ({samples.splits[away[0]]})"
        if settings.rule.by == "given":
            message = f"{many} marked as anomalous in train or validation, {first}"
            checks.fail(
                USUAL, message, "put them into the holdout, where they are measured, or leave them out", len(away)
            )
        else:
            checks.note(
                f"{many} marked as anomalous would be in train or validation ({first}) and {'are' if len(away) > 1 else 'is'} left "
                'out: the model learns what is usual; [split] by = "given" puts them into the holdout'
            )
    if not (marked & held).any() or not (samples.marked[held] == 0).any():
        what = "marked as anomalous" if not (marked & held).any() else "marked as not anomalous"
        checks.note(f"no sample of the holdout is {what}: the gate can go by mean_score and false_alarms only")
    return np.flatnonzero(held | ~marked)
