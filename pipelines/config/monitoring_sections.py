"""The settings of what happens after a release: monitoring, labels, and what is done by the clock."""

from __future__ import annotations

from typing import Annotated, Literal

from pipelines.config.bounds import ONE_OR_MORE, Between
from registry.dataclass import dataclass
from retraining.labels.numbers import Numbers


@dataclass(frozen=True, slots=True)
class Monitoring:
    """When the live release is looked at, when a check of it fails, and what follows."""

    window_minutes: Annotated[float, Between(0.01, 60 * 24 * 366)] = 15.0
    """The least time that one health record is about."""
    longest_hours: Annotated[float, Between(0.1, 24 * 366)] = 24.0
    """A window with fewer than `min_rows` rows grows until it is so long."""
    min_rows: Annotated[int, Between(50, 10**9)] = 200
    """Of a column. With fewer, nothing is said about its drift."""
    alpha: Annotated[float, Between(1e-9, 0.5)] = 0.05
    """Which share of windows without any drift may have a failed check of it, for all columns together."""
    effect: Annotated[float, Between(0, 1)] = 0.08
    """How much a distribution must have changed (0 to 1) to matter."""
    share: Annotated[float, Between(0, 1)] = 0.02
    """By how much the share of missing, new or far values must have risen to matter."""
    ignore: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Inputs and outputs that are not looked at."""
    max_drop: Annotated[float, Between(0, float("inf"))] = 0.05
    """How much worse than on the holdout quality may be, in units of the gate's metric."""
    max_error_share: Annotated[float, Between(0, 1)] = 0.05
    """Of the requests, those that end with 5xx."""
    max_latency_ms: Annotated[float, Between(0, 10**7)] = 0.0
    """Of 95 % of the answers; 0: any."""
    no_traffic_hours: Annotated[float, Between(0, 24 * 366)] = 0.0
    """Without a request for so long, something is wrong; 0: never."""
    windows: Annotated[int, Between(1, 1000)] = 2
    """So many in a row have to fail for the same cause."""
    cool_down_hours: Annotated[float, Between(0, 24 * 366)] = 24.0
    """A cause that is over and comes back sooner is not reported again before; nor does another retraining start."""
    reminder_days: Annotated[float, Between(0.01, 366)] = 7.0
    """An alarm that lasts is reported again after each of these."""
    on_alarm: Literal["tell", "retrain"] = "tell"
    """`retrain`: an alarm of drift or decay starts the dataset's pipeline, too."""
    auto_promote: bool = False
    """A retraining that the monitor has started is promoted by it, too, if it is accepted and compared on recent predictions."""
    webhook: str = ""
    """An address that gets each notice as JSON; its token is TRAINYARD_MONITOR_TOKEN."""
    keep: Annotated[int, Between(1, 10**6)] = 3000
    """Health records; a month of 15-minute windows are 2,976."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """Which answers people are asked about, and what becomes of their labels."""

    per_day: Annotated[int, Between(1, 10**6)] = 100
    """So many answers at most enter the review queue in a day."""
    random_share: Annotated[float, Between(0.05, 1)] = 0.2
    """Of them, those that are taken at random, so that accuracy stays estimable."""
    choose: Literal["margin", "entropy", "disagreement"] = "margin"
    """Which of the others come first."""
    labellers: Annotated[int, Between(1, 2)] = 1
    """How many people label each; with 2, a third decides where they differ."""
    tolerance: Annotated[float, Between(0, 10**12)] = 0.0
    """Where the model answers with a number: labels of two people that differ by no more agree."""
    relative_tolerance: Annotated[float, Between(0, 1)] = 0.0
    """As `tolerance`, as a share of the one that is further from 0; either is enough."""
    agreed_value: Literal["median", "mean", "first"] = "median"
    """Which number is taken of labels that agree; `first`: that of whoever labelled first."""
    keep_days: Annotated[int, Between(1, 36_500)] = 365
    """How long labels are kept."""

    @property
    def numbers(self) -> Numbers:
        """How labels that are numbers are compared."""
        return Numbers(self.tolerance, self.relative_tolerance, self.agreed_value)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `trainyard watch` does by the clock, as cron writes it; empty: nothing."""

    retrain: str = ""
    """A run of the dataset's pipeline that trains, whatever has been pushed, e.g. `0 3 * * 0`."""
    monitor: str = ""
    """A check of the live release, e.g. `*/15 * * * *`."""
    timezone: str = "UTC"
    """By its name in the IANA database, e.g. `Europe/Berlin`."""
