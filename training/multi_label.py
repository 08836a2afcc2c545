"""What a model's answers come to where a sample has any number of labels: one decision per label, each by the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from registry.records import ClassMetrics, Task

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SMALLEST = float(np.finfo(np.float32).eps)
"""As in `training.metrics`: probabilities are clipped to this, and to 1 minus this, in the log loss."""
SUM_SLACK = 1e-3
END_OF_LABELS = "end with one sigmoid per label, Dense(len(spec.classes), activation='sigmoid'), and compile with binary_crossentropy"


@dataclass(frozen=True, slots=True)
class LabelAnswers:
    """Which labels each sample has, and which the model gives it, in the order of the dataset's labels.

    Where a probability is not finite, the model gives the sample no label, and `log_loss` is NaN.
    """

    task: ClassVar[Task] = "multi-label"
    truth: Bools
    """Shape (samples, labels), as `predicted`."""
    predicted: Bools
    log_loss: Floats
    """Binary cross-entropy in nats, the mean over the labels; shape (samples,)."""
    scores: NDArray[Any] | None = None
    """Probabilities of some labels as float32, or what ranks as they do, shape (samples, columns); None: no metric needs them."""
    columns: tuple[int, ...] = ()
    """Which labels those are."""
    classes: tuple[str, ...] = ()
    """All labels of the dataset."""

    @property
    def right(self) -> Bools:
        """Of which samples every label is right, shape (samples,)."""
        found: Bools = (self.truth == self.predicted).all(axis=1)
        return found

    @property
    def losses(self) -> Floats:
        """Of each sample: the share of labels that are wrong."""
        wrong: Floats = (self.truth != self.predicted).mean(axis=1)
        return wrong

    @property
    def width(self) -> int:
        """Numbers per sample that a metric goes through."""
        return len(self.classes)

    def having(self, label: int) -> Bools:
        """Which samples have it."""
        return self.truth[:, label]

    @property
    def counts(self) -> Ints:
        """Per label: how often it was rightly given, given, and there; shape (labels, 3)."""
        hits = (self.truth & self.predicted).sum(axis=0)
        return np.stack([hits, self.predicted.sum(axis=0), self.truth.sum(axis=0)], axis=1).astype(np.int64)


def decided(probabilities: NDArray[Any], threshold: float) -> Bools:
    """Which labels apply: those whose probability, a float32, is at least the threshold. NaN is not."""
    return np.asarray(probabilities, dtype=np.float32) >= np.float32(threshold)


def grade_labels(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    own: Sequence[str],
    classes: Sequence[str],
    threshold: float,
    columns: tuple[int, ...] = (),
) -> LabelAnswers:
    """Compare one batch with the truth: probabilities (rows, len(own)) in the order of the model's `own` labels, truth
    (rows, len(classes)) of 0 and 1. Labels are matched by name; one that the model does not know has probability 0.
    `columns`: the labels whose probabilities are kept."""
    p, places = np.asarray(probabilities, dtype=np.float64), {name: i for i, name in enumerate(own)}
    missing = np.where(np.isfinite(p).all(axis=1), 0.0, np.nan)
    column = np.array([places.get(name, -1) for name in classes], dtype=np.int64)
    p = np.where(column >= 0, p[:, column.clip(0)], 0.0)
    is_true: Bools = np.asarray(truth) > 0.5
    of_truth = np.where(is_true, p, 1 - p).clip(SMALLEST, 1.0)
    return LabelAnswers(
        truth=is_true,
        predicted=decided(p, threshold) & np.isfinite(missing)[:, np.newaxis],
        log_loss=-np.log(of_truth).mean(axis=1) + missing,
        scores=(p[:, list(columns)] + missing[:, np.newaxis]).astype(np.float32) if columns else None,
        columns=columns,
        classes=tuple(classes),
    )


def per_label(answers: LabelAnswers) -> dict[str, ClassMetrics]:
    """Precision, recall and F1 of each label, by name; NaN where it divides by nothing."""
    return {name: _label(*map(int, row)) for name, row in zip(answers.classes, answers.counts, strict=True)}


def _label(hits: int, given: int, there: int) -> ClassMetrics:
    return ClassMetrics(_share(hits, given), _share(hits, there), _share(2 * hits, given + there), there)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def exclusive(answers: NDArray[Any], truth: NDArray[Any]) -> str:
    """What is wrong with the answers of a model that makes its labels exclude each other, as a softmax does, where samples
    have several labels or none; empty for one that does not. Both have shape (samples, labels)."""
    sums = np.asarray(answers, dtype=np.float64).sum(axis=1)
    several = np.asarray(truth).sum(axis=1) != 1
    varied = bool(np.ptp(answers, axis=0).max() > SUM_SLACK) if len(answers) else False
    if not (varied and several.any() and bool((np.abs(sums - 1) < SUM_SLACK).all())):
        return ""
    return (
        f"gives each of {len(sums):,} samples probabilities that add up to 1, as a softmax does, so that its labels exclude each "
        f"other; {int(several.sum()):,} of the samples have several labels or none"
    )
