"""What a model's scores come to: whether a sample is anomalous, and how often that is right where somebody has said so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from registry.errors import ConfigError
from registry.records import Task

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MARKED: tuple[str, ...] = ("anomalous",)
"""What metrics that are about a class are about here."""
END_OF_SCORES = (
    "end with one number per sample that grows with how unusual it is, such as the error of its reconstruction: "
    "keras.ops.mean(keras.ops.square(inputs - again), axis=-1, keepdims=True)"
)


@dataclass(frozen=True, slots=True)
class Scores:
    """The score of each sample, and whether it is over the model's threshold, in the order of the holdout; all arrays have shape
    (samples,) but `scores`."""

    task: ClassVar[Task] = "anomaly"
    truth: Floats
    """1: anomalous, 0: not, NaN: nobody has said."""
    score: Floats
    predicted: Bools
    scores: NDArray[Any]
    """The same as `score`, or what ranks as it does, shape (samples, 1)."""
    columns: ClassVar[tuple[int, ...]] = (0,)
    classes: ClassVar[tuple[str, ...]] = MARKED
    width: ClassVar[int] = 1

    @property
    def usual(self) -> Scores:
        """Of the samples that nobody has marked as anomalous."""
        return self._only(~(self.truth == 1))

    @property
    def labelled(self) -> Scores:
        """Of those of which somebody has said what they are; none where all of them are the same."""
        known = np.isfinite(self.truth)
        return self._only(known & self.has_both)

    @property
    def has_both(self) -> bool:
        """Whether some samples are marked as anomalous, and some as not."""
        return bool((self.truth == 1).any() and (self.truth == 0).any())

    @property
    def losses(self) -> Floats:
        """Of each sample its score: how badly the model knows it."""
        return self.score

    @property
    def counts(self) -> Ints:
        """How many are rightly found, found, and there; shape (1, 3)."""
        marked = self.truth == 1
        return np.array([[(marked & self.predicted).sum(), self.predicted.sum(), marked.sum()]], dtype=np.int64)

    def having(self, of: int) -> Bools:
        """Which samples are anomalous."""
        del of
        found: Bools = self.truth == 1
        return found

    def _only(self, rows: Bools) -> Scores:
        return replace(
            self,
            truth=self.truth[rows],
            score=self.score[rows],
            predicted=self.predicted[rows],
            scores=self.scores[rows],
        )


def is_anomalous(scores: NDArray[Any], threshold: float) -> Bools:
    """Which scores, float32, are over the threshold; NaN is not."""
    return np.asarray(scores, dtype=np.float32) > np.float32(threshold)


def grade_scores(output: NDArray[Any], truth: NDArray[Any], threshold: float) -> Scores:
    """One batch of scores, shape (rows,) or (rows, 1), beside what is known of the samples, shape (rows,)."""
    found = np.asarray(output, dtype=np.float32).reshape(len(output))
    known = np.asarray(truth, dtype=np.float64).reshape(len(truth))
    return Scores(known, found.astype(np.float64), is_anomalous(found, threshold), found[:, np.newaxis])


def threshold_of(scores: NDArray[Any], quantile: float) -> float:
    """The score of a sample of the train split that this share of them is not over. Raises ConfigError where one is not a number."""
    found = np.asarray(scores, dtype=np.float32).reshape(-1)
    if not np.isfinite(found).all():
        bad = int((~np.isfinite(found)).sum())
        raise ConfigError(
            f"the trained model gives {bad:,} of {len(found):,} samples of the train split a score that is NaN or infinite",
            hint="scale the inputs inside the model, and keep logarithms and divisions from 0",
        )
    return float(np.quantile(found, quantile, method="higher"))
