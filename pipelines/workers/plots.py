"""The plots of an evaluation, as PNG for mail, report and registry. The only module that imports matplotlib.

Figures are made without pyplot: no global state, and a third of the time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from registry.records import Metrics
from registry.text import shortened
from training.anomaly import Scores
from training.metrics import BINS, Estimates
from training.worker.protocol import one_line

INK, SOFT, LINE, ACCENT, WARM = "#1f2933", "#616e7c", "#d9e0e6", "#2f6fb0", "#c8553d"
mpl.rcParams["text.parse_math"] = False  # names of classes and columns are text, also between two dollars
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#cfe0f1", "#6ba3d6", "#2f6fb0", "#173f6b"])
WRONG_SHADES = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#f6d9d1", "#e29a87", "#c8553d", "#7c2413"])
DPI = 110
NAMED_CLASSES = 40
"""With more classes than this, names and counts would be too small to read."""
DOTS = 4000  # of a scatter plot
PANELS = 9
BARS, MOST_OF_SCORES, WIDE = 40, 0.995, 50
"""Of a histogram: the largest scores are in its last bar, and from so many times the smallest one on the scale is logarithmic."""


def draw_confusion(metrics: Metrics, path: Path) -> None:
    """Truth against prediction: counts as text, the share of the row as colour: another one for right than for wrong."""
    counts, names = np.array(metrics.confusion), [one_line(each) for each in metrics.classes]
    size = len(names)
    side = min(9.0, max(3.2, 0.42 * size + 0.8))
    figure, axes = _figure(side + 1.0, side + 0.9)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right_ones = np.eye(size, dtype=bool)
    for shades, hidden in ((SHADES, ~right_ones), (WRONG_SHADES, right_ones)):
        axes.imshow(np.ma.masked_array(share, hidden), cmap=shades, vmin=0, vmax=1)
    if size <= NAMED_CLASSES:
        _name_cells(axes, counts, share, names)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    right, total = int(np.trace(counts)), metrics.samples
    _title(figure, "Confusion matrix", f"{right:,} of {total:,} right ({right / max(total, 1):.1%})")
    _save(figure, path)


def _name_cells(axes: Any, counts: Any, share: Any, names: Sequence[str]) -> None:
    size = len(names)
    short = [shortened(name, 16) for name in names]
    text = 9 if size <= 12 else max(4.5, 9 - (size - 12) * 0.16)
    slanted = max(map(len, short)) > 3
    axes.set_xticks(
        range(size), short, fontsize=text, rotation=45 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.set_yticks(range(size), short, fontsize=text)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LINE, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for row, column in zip(*np.nonzero(counts), strict=True):
        wrong = row != column
        colour = "white" if share[row, column] > 0.45 else WARM if wrong else INK
        weight = "bold" if wrong else "normal"
        number = f"{counts[row, column]:,}"
        axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=text, fontweight=weight)


def draw_calibration(metrics: Metrics, path: Path) -> None:
    """How often the model is right at each confidence, over how many samples have that confidence."""
    figure, (upper, lower) = _figure(4.8, 4.9, rows=(3.2, 1))
    mean, hits, samples = (np.array(each) for each in zip(*metrics.calibration or ((0.0, 0.0, 0),), strict=True))
    upper.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    upper.vlines(mean, np.minimum(mean, hits), np.maximum(mean, hits), color=WARM, linewidth=3, alpha=0.35)
    upper.plot(mean, hits, color=ACCENT, linewidth=1.2, alpha=0.6)
    upper.scatter(mean, hits, s=14 + 90 * samples / max(samples.max(), 1), color=ACCENT, zorder=3, label="this model")
    upper.set(xlim=(0, 1.02), ylim=(0, 1.04), ylabel="share right", xticklabels=[])
    upper.legend(frameon=False, fontsize=8, loc="upper left", labelcolor=INK)
    place = np.clip(np.ceil(mean * BINS) - 1, 0, BINS - 1)
    lower.bar((place + 0.5) / BINS, samples, width=0.9 / BINS, color=ACCENT, alpha=0.8)
    lower.set(xlim=(0, 1.02), xlabel="confidence", ylabel="samples")
    for axes in (upper, lower):
        axes.grid(color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
    _title(figure, "Calibration", f"expected calibration error {metrics.values['ece']:.3f}")
    _save(figure, path)


def draw_labels(metrics: Metrics, path: Path) -> None:
    """F1 of each label as a bar, its precision and recall as marks on it; the weakest first."""
    known = sorted(metrics.classes.items(), key=lambda item: (not np.isnan(item[1].f1), item[1].f1))[:NAMED_CLASSES]
    figure, axes = _figure(5.4, 1.4 + 0.3 * len(known))
    places = np.arange(len(known))
    axes.barh(places, [each.f1 for _, each in known], height=0.6, color=ACCENT, alpha=0.35, label="F1")
    axes.scatter([each.precision for _, each in known], places, s=22, color=ACCENT, label="precision", zorder=3)
    axes.scatter([each.recall for _, each in known], places, s=22, color=WARM, marker="D", label="recall", zorder=3)
    axes.set_yticks(places, [shortened(one_line(name), 24) for name, _ in known])
    axes.set(xlim=(0, 1.02), ylim=(len(known) - 0.4, -0.6))
    axes.grid(color=LINE, linewidth=0.6, axis="x")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3, labelcolor=INK)
    micro, macro = metrics.values["micro_f1"], metrics.values["macro_f1"]
    _title(figure, "Labels", f"micro F1 {micro:.3f}, macro F1 {macro:.3f}, {len(metrics.classes):,} labels")
    _save(figure, path)


def draw_scatter(metrics: Metrics, estimates: Estimates, target: str, path: Path) -> None:
    """Prediction against truth; an even choice of samples when there are many."""
    figure, axes = _figure(4.8, 4.9)
    _dots(axes, estimates, DOTS)
    name = shortened(one_line(target), 48) or "value"
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    values = metrics.values
    _title(
        figure, "Prediction against truth", f"MAE {values['mae']:.4g}, RMSE {values['rmse']:.4g}, R² {values['r2']:.3f}"
    )
    _save(figure, path)


def draw_targets(metrics: Metrics, estimates: Estimates, path: Path) -> None:
    """Prediction against truth, a panel for each of several targets; of many the ones with the lowest R²."""
    by_r2 = sorted(metrics.targets, key=lambda name: (not np.isnan(metrics.targets[name].r2), metrics.targets[name].r2))
    shown = [name for name in metrics.targets if name in by_r2[:PANELS]]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, grid = _figure(2.6 * columns, 2.6 * rows + 0.7, (1,) * rows, columns)
    panels = list(np.atleast_1d(grid).flat)
    for axes, name in zip(panels, shown, strict=False):
        _dots(axes, estimates.of_target(name), DOTS // len(shown))
        axes.set_xlabel(f"{shortened(one_line(name), 24)}, R² {metrics.targets[name].r2:.3f}")
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    more = f", the {len(shown)} with the lowest R² of {len(metrics.targets)} targets" * (
        len(shown) < len(metrics.targets)
    )
    figure.suptitle(f"Prediction (upwards) against truth{more}", fontsize=11, fontweight="bold", color=INK)
    _save(figure, path)


def draw_scores(metrics: Metrics, scores: Scores, path: Path) -> None:
    """How many samples have which score: those marked as anomalous above the others, and from where on a sample is answered so."""
    finite = np.isfinite(scores.score)
    marked, over, score = scores.truth[finite] == 1, scores.predicted[finite], scores.score[finite]
    figure, (upper, lower) = _figure(5.4, 4.2, rows=(1, 1.6))
    if len(score):
        score = score.clip(None, np.quantile(score, MOST_OF_SCORES))
        wide = score.min() > 0 and score.max() > WIDE * score.min()
        bins = np.geomspace(score.min(), score.max(), BARS + 1) if wide else np.histogram_bin_edges(score, BARS)
        for axes in (upper, lower) if wide else ():
            axes.set_xscale("log")
        upper.hist(score[marked], bins, color=WARM, alpha=0.8)
        lower.hist(score[~marked], bins, color=ACCENT, alpha=0.8)
    for axes in (upper, lower):
        if not over.all():
            axes.axvline(score[~over].max(), color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        axes.grid(color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
    upper.set(ylabel="marked", xticklabels=[], xlim=lower.get_xlim())
    lower.set(ylabel="others", xlabel="score")
    said = f"false alarms {metrics.values['false_alarms']:.1%}"
    if "roc_auc" in metrics.values:
        said += f", found {metrics.values['recall']:.1%}, ROC-AUC {metrics.values['roc_auc']:.3f}"
    _title(figure, "Scores", said)
    _save(figure, path)


def _dots(axes: Any, estimates: Estimates, most: int) -> None:
    """An even choice of the samples, and the line on which all would be."""
    usable = np.flatnonzero(np.isfinite(estimates.predicted))
    index = usable[np.linspace(0, len(usable) - 1, min(most, len(usable))).astype(int)] if len(usable) else usable
    truth, predicted = estimates.truth[index], estimates.predicted[index]
    axes.scatter(truth, predicted, s=12, color=ACCENT, alpha=max(0.2, min(0.8, 400 / max(len(index), 1))), linewidths=0)
    if len(index):
        ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
        axes.plot(ends, ends, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def _figure(width: float, height: float, rows: tuple[float, ...] = (1,), columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, height_ratios=rows)
    for each in np.atleast_1d(axes).flat:
        each.tick_params(colors=SOFT, labelsize=8, length=3)
        each.xaxis.label.set(color=INK, size=9)
        each.yaxis.label.set(color=INK, size=9)
        for spine in each.spines.values():
            spine.set_color(LINE)
    return figure, axes


def _title(figure: Figure, title: str, line: str) -> None:
    axes = figure.axes[0]
    axes.set_title(title, fontsize=12, fontweight="bold", color=INK, pad=24)
    place: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 9), "textcoords": "offset points"}
    axes.annotate(line, (0.5, 1), ha="center", fontsize=9, color=SOFT, **place)


def _save(figure: Figure, path: Path) -> None:
    """Through 96 colours: a third of the bytes, which every mail carries."""
    from PIL import Image

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    image = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    temporary = path.with_name(f".{path.name}")
    image.quantize(96).save(temporary, "PNG", optimize=True)
    os.replace(temporary, path)
