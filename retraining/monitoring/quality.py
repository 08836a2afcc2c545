"""How good answers were whose labels are known by now, in the gate's own metrics. Pure.

The metrics are those of `training.metrics`, by which the gate has decided about the version; here each has a 95 % confidence
interval: Wilson's (1927) for accuracy, a bootstrap (Efron 1979) for the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.records import Task
from training.metric_table import better, needs_probabilities, row_of
from training.metrics import Answers, Estimates, Graded, Wanted, cost_of, grade, ranked, take, value

Floats = NDArray[np.float64]
Z95 = 1.96
RESAMPLES = 500
BUDGET = 10_000_000
"""Samples drawn by a bootstrap at most."""
SEED = 1
NO_COSTS: Mapping[str, Mapping[str, float]] = {}
FEWEST = 30
"""Rows. Of fewer, nothing is said."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Answers with their labels, in the order of time; all have the same length, (rows,)."""

    predicted: Sequence[str] | Floats
    """The answered classes, or numbers."""
    truth: Sequence[str]
    """As people wrote it; empty where they said only whether the answer was right."""
    correct: Sequence[bool | None]
    """That; it counts where `truth` is empty."""
    confidence: Floats
    """NaN where it is not known."""
    probabilities: Floats | None = None
    """Shape (rows, classes), in the order of the model's classes; None: the log does not keep them."""

    def only(self, rows: NDArray[np.bool_]) -> Labelled:
        """Those that `rows`, bool of shape (rows,), chooses."""
        places = np.flatnonzero(rows).tolist()
        predicted = (
            self.predicted[rows] if isinstance(self.predicted, np.ndarray) else [self.predicted[i] for i in places]
        )
        return Labelled(
            predicted,
            [self.truth[i] for i in places],
            [self.correct[i] for i in places],
            self.confidence[rows],
            None if self.probabilities is None else self.probabilities[rows],
        )

    def newest(self, rows: int) -> Labelled:
        """The last ones."""
        return self.only(np.arange(len(self.truth)) >= len(self.truth) - rows)


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric, with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float
    rows: int


def wrong(labelled: Labelled) -> NDArray[np.bool_]:
    """Of classification: which answers were wrong, shape (rows,)."""
    triples = zip(labelled.predicted, labelled.truth, labelled.correct, strict=True)
    return np.array([truth != predicted if truth else not correct for predicted, truth, correct in triples], dtype=bool)


def measure(
    metric: str,
    labelled: Labelled,
    classes: Sequence[str],
    costs: Mapping[str, Mapping[str, float]] = NO_COSTS,
    task: Task | None = None,
) -> Measured | str:
    """The metric; a sentence when there is nothing to measure it by. `classes`: of the model. `task`: None: one by which it has
    classes, or gives a number. Of labels people say only whether all of an answer are right, which is enough for accuracy.

    Labels of a class that the model does not have count as wrong answers. Labels that are not numbers do not count in a
    regression, nor answers that are not finite. `costs`: truth → answer → cost.
    """
    row = row_of(metric)
    task = task or ("classification" if classes else "regression")
    if row is None or task not in row.tasks or (task == "multi-label" and metric != "accuracy") or task == "anomaly":
        return f"{metric} cannot be measured on labelled answers"
    if metric == "accuracy":
        errors = wrong(labelled)
        return proportion(int((~errors).sum()), len(errors)) if len(errors) else "no label is known yet"
    if classes and labelled.probabilities is None and needs_probabilities(metric):
        return f"{metric} needs probabilities, which the prediction log does not keep"
    known = _answers(labelled, classes, Wanted((metric,), costs)) if classes else _estimates(labelled)
    if not len(known.truth):
        return f"no label says what was right, so that {metric} cannot be measured"
    found = value(metric, known)
    if not math.isfinite(found):
        why = "probabilities are not kept, or not numbers" if classes and not row.undefined else row.undefined
        return f"{metric} is not a number on these answers{f': {why}' if why else ''}"
    low, high = _bootstrap(metric, known)
    return Measured(found, low, high, len(known.truth))


def has_dropped(metric: str, now: Measured, then: float, of_then: int, max_drop: float) -> bool:
    """Whether quality is surely worse than allowed: the whole interval lies beyond `then - max_drop`.

    Not at the first drop that chance does not explain: somebody looks after every window for months, and one in forty such
    looks would find one where there is none. And not by the value alone: that of fifty labels is off by more than most
    people allow. What is surely worse by *less* than allowed is allowed. The sequence of errors (Page-Hinkley) is there to
    find small drops sooner. `then` is a measurement, too, of `of_then` samples: the interval is as much wider as if those
    varied like these.
    """
    sign = better(metric)
    half = (now.high - now.value) if sign > 0 else (now.value - now.low)
    widened = half * math.sqrt(1 + now.rows / max(of_then, 1))
    return sign * now.value + widened < sign * then - max_drop


def proportion(hits: int, rows: int) -> Measured:
    """A share with Wilson's interval; raises ZeroDivisionError without rows."""
    share, square = hits / rows, Z95**2 / rows
    middle = (share + square / 2) / (1 + square)
    half = Z95 * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    return Measured(share, max(0.0, middle - half), min(1.0, middle + half), rows)


def _answers(labelled: Labelled, own: Sequence[str], wanted: Wanted) -> Answers:
    rows = np.array([i for i, truth in enumerate(labelled.truth) if truth], dtype=np.int64)
    truth = [labelled.truth[i] for i in rows]
    classes = [*own, *sorted(set(truth) - set(own))]
    places = {name: i for i, name in enumerate(classes)}
    indices = np.array([places[each] for each in truth], dtype=np.int64)
    if labelled.probabilities is not None:
        return grade(labelled.probabilities[rows], indices, own, classes, wanted)
    predicted = np.array([places.get(str(labelled.predicted[i]), -1) for i in rows], dtype=np.int64)
    unknown = np.full(len(rows), np.nan)
    cost = cost_of(indices, predicted, wanted, classes)
    return Answers(indices, predicted, labelled.confidence[rows], unknown, unknown, cost=cost, classes=tuple(classes))


def _estimates(labelled: Labelled) -> Estimates:
    truth = np.array([_number(each) for each in labelled.truth], dtype=np.float64)
    predicted = np.asarray(labelled.predicted, dtype=np.float64)
    known = np.isfinite(truth) & np.isfinite(predicted)
    return Estimates(truth[known], predicted[known])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _bootstrap(metric: str, known: Graded) -> tuple[float, float]:
    random, rows = np.random.default_rng(SEED), len(known.truth)
    draws = max(100, min(RESAMPLES, BUDGET // rows))
    known = ranked(known)
    found = [value(metric, take(known, random.integers(rows, size=rows))) for _ in range(draws)]
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)
