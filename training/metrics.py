"""How good answers are: per-sample facts while the holdout streams by, metrics from them at the end.

What is kept per sample is a few numbers, whatever the size of a sample or the number of classes. Metrics that divide by
nothing (recall of a class without samples) are NaN, which JSON shows as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.records import ClassMetrics, Metrics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 15
"""Bins of equal width for calibration, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""
SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities are clipped to this in the log loss: what is served is float32. One sample costs 15.9 nats at most."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of each sample, in holdout order; all arrays have shape (samples,).

    Classification: `truth` and `predicted` are indices into the dataset's classes; `predicted` is -1 for a class that
    the dataset does not have, and for probabilities that are not finite.
    """

    truth: Ints
    predicted: Ints
    confidence: Floats
    """The largest probability."""
    log_loss: Floats
    brier: Floats


@dataclass(frozen=True, slots=True)
class Estimates:
    """Regression: truth and prediction of each sample, shape (samples,), in units of the target."""

    truth: Floats
    predicted: Floats


def grade(probabilities: NDArray[Any], truth: NDArray[Any], own: Sequence[str], classes: Sequence[str]) -> Answers:
    """Compare one batch with the truth: probabilities (rows, len(own)) in the order of the model's `own` classes, truth (rows,) as
    indices into the dataset's `classes`. Classes are matched by name: a class that the model does not know has
    probability 0, so its samples are wrong.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    to_dataset, to_own = _positions(own, classes), _positions(classes, own)
    column = to_own[truth]
    of_truth = np.where(column >= 0, np.take_along_axis(p, column[:, None].clip(0), axis=1)[:, 0], 0.0)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    missing = np.where(finite, 0.0, np.nan)  # one bad number makes the whole answer useless
    p = np.where(finite[:, np.newaxis], p, 0.0)
    return Answers(
        truth=np.asarray(truth, dtype=np.int64),
        predicted=np.where(finite, to_dataset[p.argmax(axis=1)], -1),
        confidence=p.max(axis=1) + missing,
        log_loss=-np.log(of_truth.clip(SMALLEST, 1.0)) + missing,
        brier=(p**2).sum(axis=1) - 2 * of_truth + 1 + missing,
    )


def classification(answers: Answers, classes: Sequence[str]) -> Metrics:
    """All metrics of a classifier. `brier` is Brier's own sum over classes (0–2); `macro_f1` is the mean over the classes
    that appear in truth or predictions."""
    counts = confusion(answers, len(classes))
    per_class = [_class(counts, answers, i) for i in range(len(classes))]
    return Metrics(
        task="classification",
        samples=len(answers.truth),
        values={name: value(name, answers) for name in ANSWER_METRICS},
        classes=dict(zip(classes, per_class, strict=True)),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        calibration=calibration(answers),
    )


def regression(estimates: Estimates) -> Metrics:
    """All metrics of a regression; `loss` is the mean squared error. R² of a constant target is 1 when all predictions
    are exact and 0 when they are not, as scikit-learn has it, and NaN for fewer than two samples."""
    values = {name: value(name, estimates) for name in ESTIMATE_METRICS}
    return Metrics(task="regression", samples=len(estimates.truth), values=values)


def value(metric: str, of: Answers | Estimates) -> float:
    """One metric over the samples; NaN when there are none. Raises KeyError for a metric of the other task."""
    if isinstance(of, Estimates):
        return ESTIMATE_METRICS[metric](of) if len(of.truth) else math.nan
    return ANSWER_METRICS[metric](of) if len(of.truth) else math.nan


def confusion(answers: Answers, classes: int) -> Ints:
    """Counts, shape (classes, classes): rows are truth, columns predictions; answers of no class are left out."""
    known = answers.predicted >= 0
    cells = answers.truth[known] * classes + answers.predicted[known]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def calibration(answers: Answers) -> tuple[tuple[float, float, int], ...]:
    """(mean confidence, accuracy, samples) of each bin that is not empty; bins are (0, 1/15], (1/15, 2/15], …"""
    usable = np.isfinite(answers.confidence)
    confidence, correct = answers.confidence[usable], (answers.truth == answers.predicted)[usable]
    bin_of = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bin_of, minlength=BINS)
    sums, hits = np.bincount(bin_of, confidence, BINS), np.bincount(bin_of, correct, BINS)
    return tuple((float(sums[i] / n), float(hits[i] / n), int(n)) for i, n in enumerate(counts) if n)


def take(of: Answers | Estimates, index: Ints) -> Answers | Estimates:
    """The samples at `index`, which may name one several times."""
    if isinstance(of, Estimates):
        return Estimates(of.truth[index], of.predicted[index])
    return Answers(*(getattr(of, name)[index] for name in Answers.__slots__))


def join(parts: Sequence[Answers] | Sequence[Estimates]) -> Answers | Estimates:
    """The batches in one; raises ValueError when there are none."""
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in kind.__slots__))


def some(outputs: Answers | Estimates, rows: NDArray[np.bool_]) -> Answers | Estimates:
    """Those of some of the samples."""
    kind = type(outputs)
    return kind(*(getattr(outputs, name)[rows] for name in kind.__slots__))


def _positions(names: Sequence[str], among: Sequence[str]) -> Ints:
    """The index of each of `names` in `among`, -1 where it is missing."""
    positions = {name: i for i, name in enumerate(among)}
    return np.array([positions.get(name, -1) for name in names], dtype=np.int64)


def _class(counts: Ints, answers: Answers, i: int) -> ClassMetrics:
    support, predicted, hits = int((answers.truth == i).sum()), int(counts[:, i].sum()), int(counts[i, i])
    return ClassMetrics(
        precision=hits / predicted if predicted else math.nan,
        recall=hits / support if support else math.nan,
        f1=2 * hits / (predicted + support) if predicted + support else math.nan,
        support=support,
    )


def _macro_f1(answers: Answers) -> float:
    classes = int(max(answers.truth.max(), answers.predicted.max())) + 1
    counts = confusion(answers, classes)
    seen = counts.sum(axis=0) + np.bincount(answers.truth, minlength=classes)
    return float((2 * np.diagonal(counts)[seen > 0] / seen[seen > 0]).mean())


def _ece(answers: Answers) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, weighted by samples."""
    if not np.isfinite(answers.confidence).all():
        return math.nan
    return sum(n * abs(mean - hits) for mean, hits, n in calibration(answers)) / len(answers.truth)


def _r2(estimates: Estimates) -> float:
    if len(estimates.truth) < 2:
        return math.nan
    residual = float(((estimates.truth - estimates.predicted) ** 2).sum())
    total = float(((estimates.truth - estimates.truth.mean()) ** 2).sum())
    if total == 0:
        return math.nan if math.isnan(residual) else float(residual == 0)
    return 1 - residual / total


def _mse(estimates: Estimates) -> float:
    return float(((estimates.truth - estimates.predicted) ** 2).mean())


ANSWER_METRICS: dict[str, Callable[[Answers], float]] = {
    "accuracy": lambda each: float((each.truth == each.predicted).mean()),
    "loss": lambda each: float(each.log_loss.mean()),
    "macro_f1": _macro_f1,
    "brier": lambda each: float(each.brier.mean()),
    "ece": _ece,
}
ESTIMATE_METRICS: dict[str, Callable[[Estimates], float]] = {
    "mae": lambda each: float(np.abs(each.truth - each.predicted).mean()),
    "rmse": lambda each: math.sqrt(_mse(each)),
    "r2": _r2,
    "loss": _mse,
}
