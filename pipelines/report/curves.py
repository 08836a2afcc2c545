"""The curves of a training: loss above, the gate's metric below, one epoch after the other over all attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.report.svg import (
    BLUE,
    GREEN,
    GRID,
    INK,
    LINE,
    ORANGE,
    SOFT,
    Drawing,
    Scale,
    drawable,
    fit,
    ticks,
    width_of,
)
from training.loop.history import AttemptHistory, History
from training.metric_table import title

WIDTH, PANEL = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 62, 40
"""What axis labels, the title, the legend and the names of the attempts take of a panel."""
ATTEMPTS = 12
"""Of more, the last ones."""
POINTS = 300
"""Per curve and attempt; of more, the lowest and the highest of each stretch."""
ON_TRAINING = {
    "accuracy": ("accuracy", "acc", "sparse_categorical_accuracy"),
    "mae": ("mae", "mean_absolute_error"),
    "rmse": ("rmse", "root_mean_squared_error"),
    "r2": ("r2_score",),
}
"""Under which names Keras reports the gate's metrics on the training split."""


class Series:
    """One curve: per attempt, points of (epoch, value)."""

    def __init__(self, label: str, colour: str, attempts: list[list[tuple[float, float]]]) -> None:
        self.label, self.colour, self.attempts = label, colour, attempts

    @property
    def values(self) -> list[float]:
        """All values that can be drawn."""
        return [value for each in self.attempts for _, value in each]


def draw_curves(history: History) -> bytes:
    """The SVG file; empty when no epoch has come to its end."""
    attempts = [(number, each) for number, each in enumerate(history.rounds, 1) if each.epochs][-ATTEMPTS:]
    if not attempts:
        return b""
    names = ON_TRAINING.get(history.metric, ())
    known = {name for _, each in attempts for epoch in each.epochs for name in epoch}
    trained = next((name for name in names if name in known), "")
    epochs = [each for _, each in attempts]
    loss = [
        Series("training", BLUE, _points(epochs, "loss")),
        Series("validation", ORANGE, _points(epochs, "val_loss")),
    ]
    metric = [Series("validation", ORANGE, _points(epochs, "value"))]
    if trained:
        metric.insert(0, Series("training", BLUE, _points(epochs, trained)))
    panels: list[tuple[str, list[Series], float | None]] = []
    if any(each.values for each in loss):
        panels.append(("loss (as the model was compiled with)", loss, None))
    panels.append((title(history.metric), metric, history.threshold))
    drawing = Drawing(WIDTH, PANEL * len(panels), "Curves of the training")
    for place, (name, series, threshold) in enumerate(panels):
        _Panel(drawing, place * PANEL, attempts).draw(name, series, threshold)
    return drawing.to_bytes()


def _points(attempts: Sequence[AttemptHistory], name: str) -> list[list[tuple[float, float]]]:
    found, epoch = [], 0
    for each in attempts:
        points = []
        for logs in each.epochs:
            epoch += 1
            if drawable([logs.get(name, float("nan"))]):
                points.append((float(epoch), logs[name]))
        found.append(_thin(points))
    return found


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= POINTS:
        return points
    size = -(-len(points) // (POINTS // 2))
    stretches = (points[i : i + size] for i in range(0, len(points), size))
    return [point for each in stretches for point in sorted({min(each, key=_value), max(each, key=_value)})]


def _value(point: tuple[float, float]) -> float:
    return point[1]


class _Panel:
    """One pair of axes."""

    def __init__(self, drawing: Drawing, top: int, attempts: Sequence[tuple[int, AttemptHistory]]) -> None:
        self.drawing, self.top, self.attempts = drawing, top, attempts
        self.upper, self.lower = top + TOP, top + PANEL - BOTTOM
        total = sum(len(each.epochs) for _, each in attempts)
        room = 0.5 if total == 1 else 0.0
        self.x = Scale(1 - room, total + room, LEFT + 8, WIDTH - RIGHT - 8)

    def draw(self, title: str, series: Sequence[Series], threshold: float | None) -> None:
        """Axes, legend and curves."""
        limit = drawable([] if threshold is None else [threshold])
        series = [each for each in series if each.values]
        values = [value for each in series for value in each.values] + limit
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
        y = Scale(low - room, high + room, self.lower, self.upper)
        self.drawing.text((LEFT, self.top + 18), fit(title, WIDTH - LEFT - RIGHT, 13), INK, 13, weight="bold")
        self._axes(y)
        self._attempts()
        if limit:
            self.drawing.line((LEFT, y(limit[0])), (WIDTH - RIGHT, y(limit[0])), GREEN, 1.5, "5 4")
        for each in series:
            for points in each.attempts:
                self.drawing.curve([(self.x(epoch), y(value)) for epoch, value in points], each.colour)
        self._legend(series, threshold=bool(limit))

    def _axes(self, y: Scale) -> None:
        draw = self.drawing
        marks = ticks(y.low, y.high, 6)
        for value in marks:
            draw.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), GRID)
            draw.text((LEFT - 8, y(value) + 4), _short(value, marks), anchor="end")
        draw.line((LEFT, self.lower), (WIDTH - RIGHT, self.lower), LINE)
        for epoch in (each for each in ticks(self.x.low, self.x.high, 9) if each == int(each) and each >= 1):
            draw.line((self.x(epoch), self.lower), (self.x(epoch), self.lower + 4), LINE)
            draw.text((self.x(epoch), self.lower + 17), f"{epoch:g}", anchor="middle")
        draw.text(((LEFT + WIDTH - RIGHT) / 2, self.lower + 34), "epoch", anchor="middle")

    def _attempts(self) -> None:
        """Where one attempt ends and the next begins; their names where there is room."""
        if len(self.attempts) < 2:
            return
        done = 0
        for number, each in self.attempts:
            left = self.x(done + 0.5) if done else LEFT
            done += len(each.epochs)
            right = self.x(done + 0.5)
            if done > len(each.epochs):
                self.drawing.line((left, self.upper - 14), (left, self.lower), LINE, 1, "2 3")
            name = "fine-tuning" if each.how == "fine-tuned" else f"attempt {number}"
            name = name if width_of(name, 11) < right - left - 6 else f"{number}"
            if width_of(name, 11) < right - left - 6:
                self.drawing.text((left + 4, self.upper - 5), name, size=11)

    def _legend(self, series: Sequence[Series], *, threshold: bool) -> None:
        left, y = float(LEFT), self.top + 36
        for label, colour, dash in self._entries(series, threshold=threshold):
            self.drawing.line((left, y - 4), (left + 22, y - 4), colour, 2, dash)
            self.drawing.text((left + 28, y), label, SOFT)
            left += 28 + width_of(label, 12) + 18

    @staticmethod
    def _entries(series: Sequence[Series], *, threshold: bool) -> Iterator[tuple[str, str, str]]:
        yield from ((each.label, each.colour, "") for each in series)
        if threshold:
            yield "threshold of the gate", GREEN, "5 4"


def _short(value: float, marks: Sequence[float]) -> str:
    """A mark with as many digits as distinguish it from its neighbours."""
    largest, step = max(map(abs, marks)), (marks[1] - marks[0]) if len(marks) > 1 else abs(marks[0]) or 1.0
    if largest >= 1e5 or (0 < largest < 1e-3):
        return f"{value:.2g}" if value else "0"
    digits = next((each for each in range(6) if abs(round(step, each) - step) < step * 1e-6), 6)
    return f"{value:.{digits}f}"
