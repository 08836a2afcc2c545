"""How good a model is on the validation split: decides when training stops. The gate measures anew, on the holdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from registry.errors import ConfigError
from registry.records import Task
from training.metric_table import METRICS, always_measured, better, row_of, unsuitable
from training.metrics import NOTHING, Names, Wanted, graded, values

KERAS_NAMES = {
    "accuracy": ("val_accuracy", "val_acc", "val_sparse_categorical_accuracy"),
    "mae": ("val_mae", "val_mean_absolute_error"),
    "rmse": ("val_rmse", "val_root_mean_squared_error"),
    "r2": ("val_r2_score",),
}
"""Where Keras has measured the same thing on the validation split already. Its loss has penalties in it, `loss` here has not."""


def check_metric(metric: str, task: Task, classes: Sequence[str] = (), targets: Sequence[str] = ()) -> None:
    """Raise ConfigError unless `metric`, with its arguments, can be measured for `task`, and `classes` or `targets`."""
    row = row_of(metric)
    if row is None or task not in row.tasks:
        known = (name for name, each in METRICS.items() if task in each.tasks)
        raise ConfigError(
            f"[gate] metric: {metric!r} is not measured for {task}", hint=f"use one of: {', '.join(known)}"
        )
    if (classes or task == "regression") and (why := unsuitable(metric, task, classes, targets)):
        raise ConfigError(f"[gate] metric: {why}", hint="correct it in [gate]")


def reached(metric: str, value: float, threshold: float) -> bool:
    """Whether the threshold holds; never for NaN."""
    return better(metric) * value >= better(metric) * threshold


def best_index(metric: str, values: Sequence[float]) -> int:
    """The index of the first best value; -1 when there is none but NaN."""
    best, index = -math.inf, -1
    for i, each in enumerate(values):
        if better(metric) * each > best:
            best, index = better(metric) * each, i
    return index


def beats(metric: str, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
    """Whether one epoch of an attempt is better than another: by the metric, its `value`; where that is the same, as it often
    is on a small validation split, by the loss there."""
    sign = better(metric)
    if new["value"] == old["value"]:
        return new.get("val_loss", math.nan) < old.get("val_loss", math.nan)
    return sign * new["value"] > sign * old["value"]


def from_logs(metric: str, task: Task, logs: dict[str, Any]) -> float | None:
    """The metric from what Keras reports at the end of an epoch, or None when it did not measure it. Of labels, its accuracy
    is another one: the share of right labels."""
    if task == "multi-label":
        return None
    return next((float(logs[name]) for name in KERAS_NAMES.get(metric, ()) if name in logs), None)


def measure(
    task: Task, answers: Any, y: Any, wanted: Wanted = NOTHING, classes: Sequence[str] = (), threshold: float = 0.5
) -> dict[str, float]:
    """All metrics of answers (samples, classes) or (samples, 1) for y (samples,), or (samples, targets) for y of that shape, and
    what is wanted; all NaN when one answer is not finite. Of labels, both are (samples, labels). `classes`: their names, which
    some metrics need."""
    answers = np.asarray(answers, dtype=np.float64)
    if not np.isfinite(answers).all():
        return dict.fromkeys((*always_measured(task), *wanted.measures), math.nan)
    names = classes or [str(each) for each in range(answers.shape[1])]
    return values(graded(task, answers, np.asarray(y), Names(names, names, threshold), wanted), wanted.measures)
