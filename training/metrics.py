"""How good answers are: per-sample facts while the holdout streams by, metrics from them at the end.

What is kept per sample is a few numbers, whatever the size of a sample or the number of classes; only metrics that rank samples
by their probabilities need one more number per class, MOST_SCORES in all. Metrics that divide by nothing (recall of a class
without samples) are NaN, which JSON shows as null. `training.metric_table` lists the metrics.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from registry.errors import ConfigError
from registry.records import ClassMetrics, Metrics, TargetMetrics, Task
from registry.records.measure import read_measure
from training.anomaly import Scores, grade_scores
from training.metric_table import METRICS, OF_LABELLED, always_measured, row_of, unsuitable
from training.multi_label import LabelAnswers, grade_labels, per_label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 15
"""Bins of equal width for calibration, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""
SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities are clipped to this in the log loss: what is served is float32. One sample costs 15.9 nats at most."""
MOST_SCORES = 100_000_000
"""Probabilities that are kept: samples times classes, 400 MB as float32."""
FUNCTIONS = "training.metric_functions"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is measured beyond what always is."""

    measures: tuple[str, ...] = ()
    """Metrics with their arguments."""
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Truth → answer → cost, by the names of classes."""
    probabilities: bool = False
    """Those of every class, whatever the metrics need."""
    targets: tuple[str, ...] = ()
    """The names of several numbers per sample, which a metric may name; empty: there is one, or classes."""

    def needs(self, what: str) -> bool:
        """Whether one of them needs `rank`, `scores` or `cost` of each sample."""
        return any(row.needs == what for row in map(row_of, self.measures) if row)

    def columns(self, classes: Sequence[str]) -> tuple[int, ...]:
        """The classes whose probabilities are needed of each sample: all, or those that are named."""
        if self.probabilities:
            return tuple(range(len(classes)))
        found: set[int] = set()
        for row, each in ((row_of(each), read_measure(each)[1]) for each in self.measures):
            if row and row.needs == "scores":
                positive = each.get("positive")
                found |= {classes.index(str(positive))} if positive in classes else set(range(len(classes)))
        return tuple(sorted(found))


NOTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of each sample, in holdout order; all arrays have shape (samples,) but `scores`.

    Classification: `truth` and `predicted` are indices into the dataset's classes; `predicted` is -1 for a class that
    the dataset does not have, and for probabilities that are not finite.
    """

    task: ClassVar[Task] = "classification"
    truth: Ints
    predicted: Ints
    confidence: Floats
    """The largest probability."""
    log_loss: Floats
    brier: Floats
    rank: Ints | None = None
    """How many classes are before the true one, by their probability; None, as all below: no metric needs it."""
    cost: Floats | None = None
    scores: NDArray[Any] | None = None
    """Probabilities of some classes as float32, or what ranks as they do, shape (samples, columns)."""
    columns: tuple[int, ...] = ()
    """Which classes those are."""
    classes: tuple[str, ...] = ()
    """All classes of the dataset."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which answers are right."""
        found: NDArray[np.bool_] = self.truth == self.predicted
        return found

    @property
    def losses(self) -> Floats:
        """Of each sample: 1 where the answer is wrong, 0 where it is right."""
        return (~self.right).astype(np.float64)

    @property
    def width(self) -> int:
        """Numbers per sample that a metric goes through."""
        return max(len(self.columns), 1)

    def having(self, of: int) -> NDArray[np.bool_]:
        """Which samples are of a class."""
        found: NDArray[np.bool_] = self.truth == of
        return found


@dataclass(frozen=True, slots=True)
class Estimates:
    """Regression: truth and prediction of each sample, shape (samples,), in units of the target; of several targets shape
    (samples, targets), each in its own."""

    task: ClassVar[Task] = "regression"
    truth: Floats
    predicted: Floats
    targets: tuple[str, ...] = ()
    """Their names; empty when there is one."""

    def of_target(self, name: str) -> Estimates:
        """Those of one target; raises ValueError when there is no such."""
        place = self.targets.index(name)
        return Estimates(self.truth[:, place], self.predicted[:, place])

    @property
    def losses(self) -> Floats:
        """Of each sample: the absolute error, of several targets their mean."""
        errors = np.abs(self.predicted - self.truth).reshape(len(self.truth), -1)
        found: Floats = errors.mean(axis=1)
        return found

    @property
    def width(self) -> int:
        """Numbers per sample that a metric goes through."""
        return max(len(self.targets), 1)


Graded = Answers | Estimates | LabelAnswers | Scores
"""Answers beside the truth, one type per task; whatever differs between tasks asks `task`, or the type itself."""


@dataclass(frozen=True, slots=True)
class Names:
    """What outputs and truth are called; nothing for a number."""

    own: Sequence[str] = ()
    """The model's classes, or labels, in the order of its output."""
    classes: Sequence[str] = ()
    """The dataset's."""
    threshold: float = 0.5
    """The model's, of labels or scores."""


def graded(task: Task, output: NDArray[Any], truth: NDArray[Any], names: Names, wanted: Wanted = NOTHING) -> Graded:
    """Compare one batch of what a model answers, shape (rows, numbers), with the truth as the dataset has it, (rows, …)."""
    if task == "regression":
        numbers = output.astype(np.float64)
        several = wanted.targets
        return Estimates(np.asarray(truth, dtype=np.float64), numbers if several else numbers[:, 0], several)
    if task == "multi-label":
        columns = wanted.columns(names.classes)
        return grade_labels(output, truth, names.own, names.classes, names.threshold, columns)
    if task == "anomaly":
        return grade_scores(output, truth, names.threshold)
    return grade(output, truth, names.own, names.classes, wanted)


def grade(
    probabilities: NDArray[Any],
    truth: NDArray[Any],
    own: Sequence[str],
    classes: Sequence[str],
    wanted: Wanted = NOTHING,
) -> Answers:
    """Compare one batch with the truth: probabilities (rows, len(own)) in the order of the model's `own` classes, truth (rows,) as
    indices into the dataset's `classes`. Classes are matched by name: a class that the model does not know has
    probability 0, so its samples are wrong. Of each sample is kept what the `wanted` metrics need, too.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    to_dataset, to_own = _positions(own, classes), _positions(classes, own)
    column = to_own[truth]
    of_truth = np.where(column >= 0, np.take_along_axis(p, column[:, None].clip(0), axis=1)[:, 0], 0.0)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    missing = np.where(finite, 0.0, np.nan)  # one bad number makes the whole answer useless
    p = np.where(finite[:, np.newaxis], p, 0.0)
    predicted = np.where(finite, to_dataset[p.argmax(axis=1)], -1)
    columns, cost = wanted.columns(classes), cost_of(truth, predicted, wanted, classes)
    return Answers(
        truth=np.asarray(truth, dtype=np.int64),
        predicted=predicted,
        confidence=p.max(axis=1) + missing,
        log_loss=-np.log(of_truth.clip(SMALLEST, 1.0)) + missing,
        brier=(p**2).sum(axis=1) - 2 * of_truth + 1 + missing,
        rank=_rank(p, of_truth, column, finite) if wanted.needs("rank") else None,
        cost=None if cost is None else cost + missing,
        scores=_scores(p, to_own, columns) + missing[:, np.newaxis].astype(np.float32) if columns else None,
        columns=columns,
        classes=tuple(classes),
    )


def must_be_possible(wanted: Wanted, task: Task, classes: Sequence[str], samples: int) -> None:
    """Raise ConfigError where what is wanted cannot be measured on such data, or not in bounded memory.

    Another task's metrics are the gate's to reject.
    """
    for each in wanted.measures:
        row = row_of(each)
        if row and task in row.tasks and (why := unsuitable(each, task, classes, wanted.targets)):
            raise ConfigError(f"[gate] {why}", hint="correct `positive`, `target` or `k` in [gate] or [[gate.rule]]")
    numbers = samples * len(wanted.columns(classes))
    if numbers > MOST_SCORES:
        raise ConfigError(
            f"[gate]: measuring {samples:,} samples by the probabilities of {len(classes):,} classes needs {numbers:,} numbers, "
            f"{MOST_SCORES:,} are kept",
            hint="name one class with `positive`, use a metric that does not rank, and none of your own (own:NAME)",
        )


def summary(of: Graded, classes: Sequence[str], wanted: Sequence[str] = ()) -> Metrics:
    """All metrics of its task, and the `wanted` ones; `classes`: of the dataset."""
    if isinstance(of, Estimates):
        return regression(of, wanted)
    if isinstance(of, LabelAnswers):
        return Metrics(of.task, len(of.truth), values(of, wanted), per_label(of))
    if isinstance(of, Scores):
        return Metrics(of.task, len(of.truth), values(of, wanted))
    return classification(of, classes, wanted)


def classification(answers: Answers, classes: Sequence[str], wanted: Sequence[str] = ()) -> Metrics:
    """All metrics of a classifier, and the `wanted` ones of this task. `brier` is Brier's own sum over classes (0–2); `macro_f1`
    is the mean over the classes that appear in truth or predictions."""
    counts = confusion(answers, len(classes))
    per_class = [_class(counts, answers, i) for i in range(len(classes))]
    return Metrics(
        task="classification",
        samples=len(answers.truth),
        values=values(answers, wanted),
        classes=dict(zip(classes, per_class, strict=True)),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        calibration=calibration(answers),
    )


def regression(estimates: Estimates, wanted: Sequence[str] = ()) -> Metrics:
    """All metrics of a regression, and the `wanted` ones of this task; `loss` is the mean squared error. R² of a constant target
    is 1 when all predictions are exact and 0 when they are not, as scikit-learn has it, and NaN for fewer than two samples.

    Of several targets each metric is the mean of what it is for each of them, scikit-learn's `uniform_average`."""
    per_target = {name: _target(estimates.of_target(name)) for name in estimates.targets}
    return Metrics(
        task="regression", samples=len(estimates.truth), values=values(estimates, wanted), targets=per_target
    )


def values(of: Graded, wanted: Sequence[str] = ()) -> dict[str, float]:
    """What is always measured, and the `wanted` metrics of this task, each under its name with arguments."""
    more = [each for each in wanted if (row := row_of(each)) and of.task in row.tasks]
    known = OF_LABELLED if isinstance(of, Scores) and of.has_both else ()
    return {name: value(name, of) for name in dict.fromkeys((*always_measured(of.task), *known, *more))}


def value(measure: str, of: Graded) -> float:
    """One metric over the samples; NaN when there are none. Raises KeyError for a metric of the other task, ValueError where it
    needs what is not kept of each sample."""
    tasks, target, function = _function(measure)
    if of.task not in tasks:
        raise KeyError(measure)
    if isinstance(of, Estimates) and target:
        of = of.of_target(target)
    if isinstance(of, Scores):
        of = of.usual if tasks == (of.task,) else of.labelled
    return function(of) if len(of.truth) else math.nan


@functools.cache
def _function(measure: str) -> tuple[Sequence[str], str, Callable[[Any], float]]:
    """Its tasks, the target that it is about, and what measures it."""
    metric, given = read_measure(measure)
    row, arguments = METRICS[metric], dict(given)
    target = str(arguments.pop("target", ""))
    return row.tasks, target, functools.partial(getattr(import_module(FUNCTIONS), row.function), **arguments)


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


def take(of: Graded, index: Ints) -> Graded:
    """The samples at `index`, which may name one several times."""
    known = {name: getattr(of, name) for name in type(of).__slots__}
    arrays: Any = {name: each[index] for name, each in known.items() if isinstance(each, np.ndarray)}
    return replace(of, **arrays)


def join(parts: Sequence[Graded]) -> Graded:
    """The batches in one; raises ValueError when there are none."""
    names = [name for name in type(parts[0]).__slots__ if isinstance(getattr(parts[0], name), np.ndarray)]
    arrays: Any = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **arrays)


def ranked(of: Graded) -> Graded:
    """The same, with scores as integers that rank as they do, so that no resample has to be sorted; NaN stays what it is."""
    if isinstance(of, Estimates) or of.scores is None or not np.isfinite(of.scores).all():
        return of
    dense = [np.unique(column, return_inverse=True)[1] for column in of.scores.T]
    return replace(of, scores=np.stack(dense, axis=1).astype(np.int32))


def _rank(p: Floats, of_truth: Floats, column: Ints, finite: NDArray[np.bool_]) -> Ints:
    """Of equal probabilities the first class counts, as in `argmax`; a true class that the model does not have is after all."""
    first = np.arange(p.shape[1]) < column[:, np.newaxis]
    before = (p > of_truth[:, np.newaxis]).sum(axis=1) + ((p == of_truth[:, np.newaxis]) & first).sum(axis=1)
    return np.where(finite & (column >= 0), before, np.iinfo(np.int64).max).astype(np.int64)


def _scores(p: Floats, to_own: Ints, columns: Sequence[int]) -> NDArray[np.float32]:
    """A class that the model does not have has probability 0."""
    own = to_own[list(columns)]
    return np.where(own >= 0, p[:, own.clip(0)], 0.0).astype(np.float32)


def cost_matrix(costs: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> Floats:
    """By truth and answer, in the order of `classes`. What is not named costs 0 where it is right, else 1."""
    matrix, places = 1.0 - np.eye(len(classes)), {name: i for i, name in enumerate(classes)}
    for truth, answers in costs.items():
        for answer, each in answers.items():
            if truth in places and answer in places:
                matrix[places[truth], places[answer]] = each
    return matrix


def cost_of(truth: NDArray[Any], predicted: Ints, wanted: Wanted, classes: Sequence[str]) -> Floats | None:
    """Of each answer; None when nothing needs it. An answer of a class that the dataset does not have costs as much as the dearest."""
    if not wanted.needs("cost"):
        return None
    matrix = cost_matrix(wanted.costs, classes)
    found: Floats = np.where(predicted >= 0, matrix[truth, predicted], matrix.max(axis=1)[truth])
    return found


def some(outputs: Graded, rows: NDArray[np.bool_]) -> Graded:
    """Those of some of the samples."""
    return take(outputs, np.flatnonzero(rows))


def _positions(names: Sequence[str], among: Sequence[str]) -> Ints:
    """The index of each of `names` in `among`, -1 where it is missing."""
    positions = {name: i for i, name in enumerate(among)}
    return np.array([positions.get(name, -1) for name in names], dtype=np.int64)


def _target(of: Estimates) -> TargetMetrics:
    return TargetMetrics(*(value(name, of) for name in ("mae", "rmse", "r2")))


def _class(counts: Ints, answers: Answers, i: int) -> ClassMetrics:
    support, predicted, hits = int((answers.truth == i).sum()), int(counts[:, i].sum()), int(counts[i, i])
    return ClassMetrics(
        precision=hits / predicted if predicted else math.nan,
        recall=hits / support if support else math.nan,
        f1=2 * hits / (predicted + support) if predicted + support else math.nan,
        support=support,
    )
