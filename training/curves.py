"""The curves of a training as an image: one column per attempt, loss above, the gate's metric below."""

from __future__ import annotations

import math
from pathlib import Path

from training.loop.history import AttemptHistory, History

SHOWN = 6
"""Attempts that fit side by side; of more, the last ones."""


def draw_curves(history: History, path: Path) -> None:
    """Write a PNG of all epochs of all attempts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    attempts = [(i, each) for i, each in enumerate(history.rounds) if each.epochs][-SHOWN:]
    figure = Figure(figsize=(1.2 + 3.4 * max(1, len(attempts)), 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, max(1, len(attempts)), squeeze=False, sharex="col")
    for column, (number, each) in enumerate(attempts):
        steps = range(1, len(each.epochs) + 1)
        loss, metric = axes[0][column], axes[1][column]
        for name, label in (("loss", "training"), ("val_loss", "validation")):
            if name in each.epochs[0]:
                loss.plot(steps, [epoch.get(name, float("nan")) for epoch in each.epochs], label=label, marker=".")
        if loss.has_data():
            loss.legend(frameon=False)
        metric.plot(steps, each.values, color="tab:orange", marker=".", label="validation")
        if math.isfinite(history.threshold):
            metric.axhline(history.threshold, color="grey", linestyle="--", linewidth=1, label="threshold")
        metric.legend(frameon=False)
        loss.set_title(_title(number, each), fontsize=10)
        metric.set_xlabel("epoch")
        metric.xaxis.get_major_locator().set_params(integer=True)
    axes[0][0].set_ylabel("loss")
    axes[1][0].set_ylabel(history.metric)
    figure.savefig(path, format="png")


def _title(number: int, each: AttemptHistory) -> str:
    kind = "fine-tuning" if each.how == "fine-tuned" else f"attempt {each.attempt + 1}"
    return f"{number + 1}: {kind}, {each.parameters:,} parameters"
