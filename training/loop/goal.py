"""How good a model is on the validation split: decides when training stops. The gate measures anew, on the holdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from registry.errors import ConfigError
from registry.records import DIRECTION, Task
from training.metrics import ANSWER_METRICS, ESTIMATE_METRICS, Answers, Estimates, grade, value

KERAS_NAMES = {
    "accuracy": ("val_accuracy", "val_acc", "val_sparse_categorical_accuracy"),
    "mae": ("val_mae", "val_mean_absolute_error"),
    "rmse": ("val_rmse", "val_root_mean_squared_error"),
    "r2": ("val_r2_score",),
}
"""Where Keras has measured the same thing on the validation split already. Its loss has penalties in it, `loss` here has not."""


def check_metric(metric: str, task: Task) -> None:
    """Raise ConfigError unless `metric` can be measured for `task`."""
    known = _known(task)
    if metric not in known:
        raise ConfigError(
            f"[gate] metric: {metric!r} is not measured for {task}", hint=f"use one of: {', '.join(known)}"
        )


def reached(metric: str, value: float, threshold: float) -> bool:
    """Whether the threshold holds; never for NaN."""
    return DIRECTION[metric] * value >= DIRECTION[metric] * threshold


def best_index(metric: str, values: Sequence[float]) -> int:
    """The index of the first best value; -1 when there is none but NaN."""
    best, index = -math.inf, -1
    for i, each in enumerate(values):
        if DIRECTION[metric] * each > best:
            best, index = DIRECTION[metric] * each, i
    return index


def beats(metric: str, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
    """Whether one epoch of an attempt is better than another: by the metric, its `value`; where that is the same, as it often
    is on a small validation split, by the loss there."""
    sign = DIRECTION[metric]
    if new["value"] == old["value"]:
        return new.get("val_loss", math.nan) < old.get("val_loss", math.nan)
    return sign * new["value"] > sign * old["value"]


def from_logs(metric: str, logs: dict[str, Any]) -> float | None:
    """The metric from what Keras reports at the end of an epoch, or None when it did not measure it."""
    return next((float(logs[name]) for name in KERAS_NAMES.get(metric, ()) if name in logs), None)


def measure(task: Task, answers: Any, y: Any) -> dict[str, float]:
    """All metrics of answers (samples, classes) or (samples, 1) for y (samples,); all NaN when one answer is not finite."""
    answers = np.asarray(answers, dtype=np.float64)
    if not np.isfinite(answers).all():
        return dict.fromkeys(_known(task), math.nan)
    of: Answers | Estimates
    if task == "regression":
        of = Estimates(np.asarray(y, dtype=np.float64), answers[:, 0])
    else:
        labels = [str(each) for each in range(answers.shape[1])]
        of = grade(answers, y, labels, labels)
    return {name: value(name, of) for name in _known(task)}


def _known(task: Task) -> tuple[str, ...]:
    return tuple(ANSWER_METRICS if task == "classification" else ESTIMATE_METRICS)
