"""One line of the table that `make bench` prints: ours, theirs, the ratio, and what we promise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Row:
    """A ratio of two things measured in turns in one run."""

    title: str
    ours: float
    unit: str
    against: str
    """What it is compared with, e.g. `the bare training script`."""
    theirs: float
    limit: float | None = None
    """The promise, as a ratio; None: only told."""
    better: Literal["less", "more"] = "less"
    """Whether `ratio` shall be at most or at least `limit`."""
    raw: dict[str, object] = field(default_factory=dict)
    """Every single measurement."""

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None when there is none."""
        if self.limit is None:
            return None
        return self.ratio <= self.limit if self.better == "less" else self.ratio >= self.limit
