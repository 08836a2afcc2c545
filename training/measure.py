"""How good a model is on the validation split: decides when training stops. The gate measures anew, on the holdout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from registry.errors import ConfigError
from registry.nouns import Task

SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities are clipped to this in the log loss."""
BINS = 15

DIRECTION = {"accuracy": 1, "macro_f1": 1, "r2": 1, "loss": -1, "brier": -1, "ece": -1, "mae": -1, "rmse": -1}
"""1: more is better; -1: less is."""

KERAS_NAMES = {
    "accuracy": ("val_accuracy", "val_acc", "val_sparse_categorical_accuracy"),
    "mae": ("val_mae", "val_mean_absolute_error"),
    "rmse": ("val_rmse", "val_root_mean_squared_error"),
    "r2": ("val_r2_score",),
}
"""Where Keras has measured the same thing on the validation split already. Its loss has penalties in it, ours has not."""


def check_metric(metric: str, task: Task) -> None:
    """Raise ConfigError unless `metric` can be measured for `task`."""
    known = CLASSIFICATION if task == "classification" else REGRESSION
    if metric not in known:
        raise ConfigError(
            f"[gate] metric: {metric!r} is not measured for {task}", hint=f"use one of: {', '.join(known)}"
        )


def reached(metric: str, value: float, threshold: float) -> bool:
    """Whether the threshold holds; never for NaN."""
    return DIRECTION[metric] * value >= DIRECTION[metric] * threshold


def best_index(metric: str, values: Sequence[float]) -> int:
    """The index of the first best value; -1 when there is none but NaN."""
    best, place = -math.inf, -1
    for i, value in enumerate(values):
        if DIRECTION[metric] * value > best:
            best, place = DIRECTION[metric] * value, i
    return place


def from_logs(metric: str, logs: dict[str, Any]) -> float | None:
    """The metric from what Keras reports at the end of an epoch, or None when it did not measure it."""
    return next((float(logs[name]) for name in KERAS_NAMES.get(metric, ()) if name in logs), None)


def measure(task: Task, answers: Any, y: Any) -> dict[str, float]:
    """All metrics of answers (samples, classes) or (samples, 1) for y (samples,)."""
    table = CLASSIFICATION if task == "classification" else REGRESSION
    answers, y = np.asarray(answers, dtype=np.float64), np.asarray(y)
    if task == "regression":
        answers, y = answers[:, 0], y.astype(np.float64)
    return {name: function(answers, y) for name, function in table.items()}


def _accuracy(p: Any, y: Any) -> float:
    return float((p.argmax(axis=1) == y).mean()) if np.isfinite(p).all() else math.nan


def _log_loss(p: Any, y: Any) -> float:
    return float(-np.log(p[np.arange(len(y)), y].clip(SMALLEST, 1)).mean())


def _macro_f1(p: Any, y: Any) -> float:
    if not np.isfinite(p).all():
        return math.nan
    found, classes = p.argmax(axis=1), p.shape[1]
    hits = np.bincount(y[found == y], minlength=classes)
    seen = np.bincount(y, minlength=classes) + np.bincount(found, minlength=classes)
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def _brier(p: Any, y: Any) -> float:
    return float(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean())


def _ece(p: Any, y: Any) -> float:
    """Expected calibration error over bins of equal width."""
    if not np.isfinite(p).all():
        return math.nan
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == y
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.abs(np.bincount(place, confidence - correct, BINS))
    return float(gaps.sum() / len(y))


def _r2(f: Any, y: Any) -> float:
    total = float(((y - y.mean()) ** 2).sum())
    residual = float(((y - f) ** 2).sum())
    if total == 0 or len(y) < 2:
        return math.nan if len(y) < 2 or math.isnan(residual) else float(residual == 0)
    return 1 - residual / total


Metric = Callable[[Any, Any], float]
CLASSIFICATION: dict[str, Metric] = {
    "accuracy": _accuracy,
    "loss": _log_loss,
    "macro_f1": _macro_f1,
    "brier": _brier,
    "ece": _ece,
}
REGRESSION: dict[str, Metric] = {
    "mae": lambda f, y: float(np.abs(y - f).mean()),
    "rmse": lambda f, y: math.sqrt(float(((y - f) ** 2).mean())),
    "r2": _r2,
    "loss": lambda f, y: float(((y - f) ** 2).mean()),
}
