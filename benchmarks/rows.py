"""One line of the table that `make bench` prints: ours, theirs, what we promise, and whether the promise was kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


class Skipped(Exception):
    """A benchmark that cannot run here; the message says why, and what would change that."""


@dataclass(frozen=True)
class Row:
    """Two things measured in turns in one run, or one thing against a fixed promise (`rule="value"`)."""

    title: str
    ours: float
    unit: str
    against: str
    """What it is compared with, e.g. `the bare training script`; empty for a fixed promise."""
    theirs: float
    limit: float | None = None
    """The promise about the `rule`'s number; None: only reported."""
    better: Literal["less", "more"] = "less"
    """Whether that number shall be at most or at least `limit`."""
    raw: dict[str, object] = field(default_factory=dict)
    """Every single measurement."""
    rule: Literal["ratio", "difference", "value"] = "ratio"
    """What is promised: `ours / theirs`, `ours - theirs` in `unit`, or `ours` itself in `unit`."""

    @property
    def ratio(self) -> float:
        """Ours over theirs; NaN when there is nothing to compare with."""
        return self.ours / self.theirs if self.theirs else float("nan")

    @property
    def promised_number(self) -> float:
        """The number that the promise is about."""
        return {"ratio": self.ratio, "difference": self.ours - self.theirs, "value": self.ours}[self.rule]

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None when there is none. NaN keeps no promise."""
        if self.limit is None:
            return None
        return self.promised_number <= self.limit if self.better == "less" else self.promised_number >= self.limit

    @property
    def promise(self) -> str:
        """The promise in words, e.g. `≤ 1.6 ×`, `≤ +150 ms`, `≥ 20,000 files/s`; empty when there is none."""
        if self.limit is None:
            return ""
        sign = "≤" if self.better == "less" else "≥"
        number = f"{self.limit:,.3g}" if self.limit < 1000 else f"{self.limit:,.0f}"
        if self.rule == "ratio":
            return f"{sign} {number} ×"
        return f"{sign} {'+' if self.rule == 'difference' else ''}{number} {self.unit}"
