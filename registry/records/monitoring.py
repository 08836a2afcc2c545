"""How the live release does: what a monitor found in a window of predictions, and what was made of it."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from registry.dataclass import dataclass

PLACE = re.compile(r"\[[0-9]+\]$")
"""Of one number among those of an output or an array, at the end of a column's name."""
CheckKind = Literal["drift", "decay", "service"]
"""Of what came in and went out, against the reference; of its quality; of the API itself."""
CheckOutcome = Literal["passed", "failed", "unknown"]
"""unknown: there was not enough to go by; `reason` says of what."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which predictions a health record is about: those of one release in [since, until)."""

    model: str
    version: int
    release: int
    since: str
    """UTC, as in `utc_now`."""
    until: str
    rows: int
    """Answered instances. Those of refused requests are not among them."""
    labelled: int = 0
    """Those of them whose label is known."""
    refused: int = 0
    """Refused or failed requests."""
    left_out: int = 0
    """Lines of the log that could not be read."""
    others: int = 0
    """Instances that other releases have answered meanwhile: they are not checked."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question about a window, and its answer."""

    kind: CheckKind
    what: str
    """distribution, missing, new values, out of range; a metric's name, `estimated accuracy`, `sequence of errors`; error
    share, latency, traffic, dropped lines, other release."""
    outcome: CheckOutcome
    reason: str
    """One sentence for people."""
    column: str = ""
    """As the reference calls it (`inputs.mass`, `outputs.p[0]`, `class`, `confidence`); empty: it is about all."""
    statistic: float | None = None
    threshold: float | None = None
    """Which `statistic`, `effect` or `now` was compared with; of drift, that of `effect`."""
    p: float | None = None
    """Corrected for all checks of the window."""
    effect: float | None = None
    """0 to 1, whatever the number of rows."""
    then: float | None = None
    """The same on the holdout, when the version was accepted."""
    now: float | None = None
    low: float | None = None
    """Of the 95 % confidence interval of `now`."""
    high: float | None = None
    rows: int = 0
    """So many it rests on."""

    @property
    def cause(self) -> str:
        """What an alarm about it is called, and silenced by: `drift inputs.mass`, `decay accuracy`, `service latency`. The numbers
        of one output or array are one cause: `drift outputs.probabilities`."""
        return f"{self.kind} {PLACE.sub('', self.column) or self.what}"


@dataclass(frozen=True, slots=True)
class Health:
    """What was found in one window. Kept in `<home>/monitor/<model>/health/`, the newest `[monitoring] keep` of them."""

    window: Window
    checks: tuple[Check, ...]
    """The failed ones first."""
    at: str
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why: no reference, no inputs in the log."""

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(each for each in self.checks if each.outcome == "failed")


@dataclass(frozen=True, slots=True)
class Silence:
    """Somebody does not want to be written to about a cause for a while. It is followed all the same."""

    cause: str
    until: str
    by: str
    reason: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A cause that has failed in enough windows in a row, and what was done about it; one file each, rewritten whole."""

    cause: str
    model: str
    version: int
    release: int
    since: str
    """The end of the first window that failed."""
    raised: str
    """When people were written to."""
    check: Check
    """Of the window that raised it."""
    done: tuple[str, ...] = field(default=())
    """What was done, a sentence each with its time: mailed, reminded, a run started, not started and why, over."""
    over: str = ""
    """When a window passed again; empty while it lasts."""
    run: str = ""
    """The retraining that it started."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """A column in bars, then and now: of the holdout, and of a window. Shares are those of the values that are not missing."""

    column: str
    edges: tuple[float, ...]
    """Of numbers: one more than bars. The outermost bars hold what lies beyond them, too. Of other values: empty."""
    values: tuple[str, ...]
    """Of other values: one per bar; the last may be `OTHERS`."""
    then: tuple[float, ...]
    now: tuple[float, ...]
    missing_then: float
    missing_now: float
    rows: int
    """Of the window, with those where it is missing."""


OTHERS = "(all others)"


@dataclass(frozen=True, slots=True)
class Looked:
    """What one call of the monitor has found: every window that was complete, the oldest first."""

    health: tuple[Health, ...]
    histograms: tuple[Histogram, ...] = ()
    """Of the newest window alone; those of columns that failed first."""
