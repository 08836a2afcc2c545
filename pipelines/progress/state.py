"""What the views show: how far the worker of the current step is."""

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
