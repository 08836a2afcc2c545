"""The functions behind `training.metric_table`: answers of one or more samples, and the arguments by name, to one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.anomaly import Scores
from training.metrics import Answers, Estimates, Floats, Ints, calibration, confusion
from training.multi_label import LabelAnswers

MISSING = "this metric needs what was not kept of each sample: name it in `wanted`"


Named = Answers | LabelAnswers | Scores
"""Of classes, of labels, or of anomalies, which are one class."""
NOTHING_THERE = 1.0
"""F1 where no sample has a label, and none is given: nothing is wrong."""


def accuracy(answers: Answers | LabelAnswers) -> float:
    """Of labels: of the samples with every label right, which is called subset accuracy, too."""
    return float(answers.right.mean())


def hamming_loss(answers: LabelAnswers) -> float:
    return float(answers.losses.mean())


def loss(each: Answers | Estimates | LabelAnswers) -> float:
    """Log loss of a classifier, of labels the mean over them; mean squared error of a regression."""
    return _mse(each) if isinstance(each, Estimates) else float(each.log_loss.mean())


def brier(answers: Answers) -> float:
    return float(answers.brier.mean())


def macro_f1(answers: Named) -> float:
    hits, predicted, support = _counts(answers).T
    seen = predicted + support
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean()) if seen.any() else NOTHING_THERE


def micro_f1(answers: LabelAnswers) -> float:
    hits, predicted, support = map(int, answers.counts.sum(axis=0))
    return 2 * hits / (predicted + support) if predicted + support else NOTHING_THERE


def ece(answers: Answers) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, weighted by samples."""
    if not np.isfinite(answers.confidence).all():
        return math.nan
    return sum(n * abs(mean - hits) for mean, hits, n in calibration(answers)) / len(answers.truth)


def precision(answers: Named, positive: str = "") -> float:
    return _of_classes(answers, positive, lambda hits, predicted, _: _share(hits, predicted))


def recall(answers: Named, positive: str = "") -> float:
    return _of_classes(answers, positive, lambda hits, _, support: _share(hits, support))


def f_beta(answers: Named, beta: float, positive: str = "") -> float:
    """The harmonic mean of precision and recall, recall weighing `beta` times as much (van Rijsbergen 1979)."""
    square = beta**2
    return _of_classes(
        answers,
        positive,
        lambda hits, predicted, support: _share((1 + square) * hits, predicted + square * support),
    )


def mcc(answers: Answers) -> float:
    """Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient"; 0 where all answers, or
    all truths, are the same, as scikit-learn has it. Answers of no class are a class of their own."""
    n = len(answers.truth)
    size = int(max(answers.truth.max(), answers.predicted.max())) + 2
    truth = np.bincount(answers.truth + 1, minlength=size).astype(np.float64)
    predicted = np.bincount(answers.predicted + 1, minlength=size).astype(np.float64)
    right = float((answers.truth == answers.predicted).sum())
    spread = (n**2 - float(predicted @ predicted)) * (n**2 - float(truth @ truth))
    return (right * n - float(truth @ predicted)) / math.sqrt(spread) if spread > 0 else 0.0


def top_k(answers: Answers, k: int) -> float:
    return float((_kept(answers.rank) < k).mean())


def cost(answers: Answers) -> float:
    return float(_kept(answers.cost).mean())


def roc_auc(answers: Named, positive: str = "") -> float:
    """The probability that a sample of a class has a higher score for it than another one, ties counting half (Mann and
    Whitney 1947). The mean over the classes that have samples, one against the rest."""
    return _mean(_area(*each) for each in _ranked_counts(answers, positive))


def average_precision(answers: Named, positive: str = "") -> float:
    """The sum of precision times rise of recall over all thresholds, without interpolation, as scikit-learn has it. The mean over
    the classes that have samples."""
    return _mean(_average_precision(*each) for each in _ranked_counts(answers, positive))


def rank_mae(answers: Answers) -> float:
    """The mean distance between the places of answer and truth among classes that have an order."""
    return float(np.abs(_answered(answers) - answers.truth).mean())


def quadratic_kappa(answers: Answers) -> float:
    """Cohen 1968, "Weighted kappa", with the squares of the distances as weights; 0 where all answers and all truths are one class."""
    truth, answered = answers.truth.astype(np.float64), _answered(answers).astype(np.float64)
    by_chance = (truth**2).mean() + (answered**2).mean() - 2 * truth.mean() * answered.mean()
    return float(1 - ((truth - answered) ** 2).mean() / by_chance) if by_chance > 0 else 0.0


def within_one(answers: Answers) -> float:
    return float((np.abs(_answered(answers) - answers.truth) <= 1).mean())


def _answered(answers: Answers) -> Ints:
    """The places of the answered classes; an answer of no class counts as the one that is farthest from the truth."""
    last = len(answers.classes) - 1
    farthest = np.where(answers.truth > last - answers.truth, 0, last)
    return np.where(answers.predicted >= 0, answers.predicted, farthest)


def mae(estimates: Estimates) -> float:
    return float(np.abs(estimates.truth - estimates.predicted).mean())


def rmse(estimates: Estimates) -> float:
    """Of several targets the mean of their errors, and not the error over all of their numbers."""
    return float(np.sqrt(((estimates.truth - estimates.predicted) ** 2).mean(axis=0)).mean())


def r2(estimates: Estimates) -> float:
    if len(estimates.truth) < 2:
        return math.nan
    residual = ((estimates.truth - estimates.predicted) ** 2).sum(axis=0)
    total = ((estimates.truth - estimates.truth.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(np.isnan(residual), math.nan, residual == 0)
        return float(np.where(total == 0, exact, 1 - residual / total).mean())


def mape(estimates: Estimates) -> float:
    """A share: 0.1 is off by 10 %. NaN where a true value is 0."""
    if not estimates.truth.all():
        return math.nan
    return float((np.abs(estimates.truth - estimates.predicted) / np.abs(estimates.truth)).mean())


def pinball(estimates: Estimates, quantile: float) -> float:
    """Koenker and Bassett 1978: what is too low costs `quantile` per unit, what is too high 1 - `quantile`."""
    error = estimates.truth - estimates.predicted
    return float(np.maximum(quantile * error, (quantile - 1) * error).mean())


def mean_score(scores: Scores) -> float:
    return float(scores.score.mean())


def false_alarms(scores: Scores) -> float:
    return float(scores.predicted.mean())


def _mse(estimates: Estimates) -> float:
    return float(((estimates.truth - estimates.predicted) ** 2).mean())


def _of_classes(answers: Named, positive: str, of_class: Callable[[int, int, int], float]) -> float:
    """Of hits, answers and samples of one class; or the mean over the classes that appear in truth or answers, as `macro_f1` has it.
    A class without samples and answers has none; one that is never answered has hits 0, which is 0 and not unknown."""
    facts = _counts(answers)
    if positive:
        hits, predicted, support = map(int, facts[answers.classes.index(positive)])
        return of_class(hits, predicted, support) if support else math.nan
    return _mean(of_class(*map(int, each)) for each in facts if each[1] or each[2])


def _counts(answers: Named) -> Ints:
    """Of each class or label: hits, answers and samples; shape (classes, 3)."""
    if isinstance(answers, LabelAnswers | Scores):
        return answers.counts
    size = max(len(answers.classes), int(max(answers.truth.max(), answers.predicted.max())) + 1)
    counts = confusion(answers, size)
    return np.stack([np.diagonal(counts), counts.sum(axis=0), np.bincount(answers.truth, minlength=size)], axis=1)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _ranked_counts(answers: Named, positive: str) -> Iterator[tuple[Ints, Ints]]:
    """Of each class that has samples: how many of its own, and of all others, have each score, the lowest first."""
    scores = _kept(answers.scores)
    if not np.isfinite(scores).all():
        return
    wanted = {answers.classes.index(positive)} if positive else set(range(len(answers.classes)))
    if not wanted <= set(answers.columns):
        raise ValueError(MISSING)
    for place, of in enumerate(answers.columns):
        own = answers.having(of)
        if of in wanted and own.any():
            column = scores[:, place]
            rank = column if column.dtype.kind == "i" else np.unique(column, return_inverse=True)[1]
            size = int(rank.max()) + 1
            yield np.bincount(rank[own], minlength=size), np.bincount(rank[~own], minlength=size)


def _area(own: Ints, others: Ints) -> float:
    below = others.cumsum() - others
    pairs = int(own.sum()) * int(others.sum())
    return float((own * (below + others / 2)).sum()) / pairs if pairs else math.nan


def _average_precision(own: Ints, others: Ints) -> float:
    own, others = own[::-1], others[::-1]
    hits, answered = own.cumsum(), (own + others).cumsum()
    used = own > 0
    return float((own[used] * (hits[used] / answered[used])).sum() / own.sum())


def _mean(numbers: Iterator[float]) -> float:
    found: Floats = np.array(list(numbers), dtype=np.float64)
    return float(found.mean()) if len(found) else math.nan


def _kept(array: NDArray[Any] | None) -> NDArray[Any]:
    if array is None:
        raise ValueError(MISSING)
    return array
