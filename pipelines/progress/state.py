"""What the views show: how far the worker of the current step is, and durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.worker.protocol import one_line


class Work:
    """How far the worker of the current step is, from its events."""

    def __init__(self) -> None:
        self.attempt = ""
        self.what = "epoch"
        self.at = self.of = 0
        self.metric = ""

    def take(self, event: Mapping[str, Any]) -> bool:
        """Update from an event; False when it lacks a field or holds a wrong one (workers run foreign code)."""
        kind = event["event"]
        try:
            if kind == "attempt":
                self.attempt = f"attempt {int(event['attempt'])}/{int(event['of'])}"
                self.at, self.metric = 0, ""
            elif kind == "epoch":
                self.what, self.at, self.of = "epoch", int(event["epoch"]), int(event["of"])
                self.metric = f"{one_line(event['metric'])} {float(event['value']):.4g}"
            elif kind == "progress":
                self.what, self.at, self.of = one_line(event["what"]), int(event["done"]), int(event["of"])
                self.metric = ""
            else:
                return False
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        return True

    @property
    def words(self) -> str:
        """`attempt 1/3, epoch 3/20, accuracy 0.912`, or `12,000/20,000 images read`."""
        count = f"{self.at:,}/{self.of:,}"
        far = (f"epoch {count}" if self.what == "epoch" else f"{count} {self.what}") if self.at else ""
        return ", ".join(each for each in (self.attempt, far, self.metric) if each)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
