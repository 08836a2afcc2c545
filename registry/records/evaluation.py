"""What was measured on the holdout, and the gate's verdict."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from registry.dataclass import dataclass
from registry.records.data import Task
from registry.records.measure import OWN, SCRIPT, written

ARGUMENTS = ("positive", "beta", "k", "quantile", "target")
"""Of metrics, as rules and the policy name them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one metric must be, beside the gate's own. Without a limit, it is measured and shown only."""

    metric: str
    min: float | None = None
    """At least."""
    max: float | None = None
    """At most."""
    max_drop: float | None = None
    """How much worse than the live release, on the same holdout; None: not compared."""
    positive: str = ""
    """The class that it is about; empty: the mean over all."""
    beta: float | None = None
    k: int | None = None
    quantile: float | None = None
    better: str = ""
    """`more` or `less`, of a metric that Trainyard does not know."""
    target: str = ""
    """Of several targets the one that it is about; empty: the mean over all."""

    @property
    def measure(self) -> str:
        """The metric with its arguments: the name of its value."""
        return written(self.metric, {name: getattr(self, name) for name in (*ARGUMENTS, "better")})


@dataclass(frozen=True, slots=True)
class Policy:
    """When a candidate is good enough."""

    metric: str = "accuracy"
    threshold: float = 0.9
    class_floor: float | None = None
    """The smallest recall of any class."""
    min_samples: int = 30
    max_drop: float = 0.01
    """How much worse than the live release, on the same holdout, in units of the metric."""
    recent: bool = False
    """Compare with the live release on labelled recent predictions, too."""
    positive: str = ""
    """Arguments of the metric, as of a rule."""
    beta: float | None = None
    k: int | None = None
    quantile: float | None = None
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """What an answer costs: truth → answer → cost. What is not named costs 0 where it is right, 1 where it is wrong."""
    rule: tuple[Rule, ...] = ()
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → values, or ranges of numbers (`18..30`): on these samples alone the gate's metric is measured, too."""
    slice_floor: float | None = None
    """What it must be at least on each slice; where less is better: at most."""
    slice_floors: dict[str, float] = field(default_factory=dict)
    """Slice (`island=Dream`) → the same, for this one."""
    slice_min_samples: int = 20
    """A slice with fewer is shown, and decides nothing."""
    slice_max_drop: float | None = None
    """How much worse than the live release on any slice, when chance does not explain it."""
    target: str = ""
    """An argument of the metric, as of a rule."""

    @property
    def measure(self) -> str:
        """The gate's metric with its arguments: the name of its value."""
        return written(self.metric, {name: getattr(self, name) for name in ARGUMENTS})

    @property
    def more(self) -> tuple[str, ...]:
        """What the rules ask for beside it, of what Trainyard measures."""
        return tuple(each for each in self._asked if each != self.measure and not each.startswith((OWN, SCRIPT)))

    @property
    def own(self) -> tuple[str, ...]:
        """What they ask of the team's `metrics.py`."""
        return tuple(each for each in self._asked if each.startswith(OWN))

    @property
    def said(self) -> tuple[str, ...]:
        """What they ask of the numbers that a script reports."""
        return tuple(each for each in self._asked if each.startswith(SCRIPT))

    @property
    def _asked(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.measure for each in self.rule))


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class on the holdout."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class TargetMetrics:
    """One of several targets on the holdout, in its own units."""

    mae: float
    rmse: float
    r2: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """Measured with the very file that is served, on the holdout, which training never saw."""

    task: Task
    samples: int
    values: dict[str, float]
    """classification: accuracy, loss (log loss, nats), macro_f1, brier, ece; regression: mae, rmse, r2, loss (MSE), of several
    targets the mean; multi-label: accuracy (every label right), micro_f1, macro_f1, hamming_loss, loss (log loss per label);
    anomaly: mean_score, false_alarms, and where samples are marked roc_auc, average_precision, precision, recall; and
    what the gate's rules ask for, under the name of the metric with its arguments."""
    classes: dict[str, ClassMetrics] = field(default_factory=dict)
    """Or labels, by name; empty for regression."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows: truth, columns: prediction, both in the order of the signature's classes."""
    calibration: tuple[tuple[float, float, int], ...] = ()
    """Bins of (mean confidence, accuracy, samples)."""
    targets: dict[str, TargetMetrics] = field(default_factory=dict)
    """By name, in the order of the dataset, where there are several."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The candidate minus the live release on the same holdout samples; positive is better.

    `low` and `high` are the ends of the paired 95 % confidence interval of `difference`.
    """

    live_version: int
    metric: str
    difference: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True, slots=True)
class InputImportance:
    """How much worse the candidate gets when one of its inputs is shuffled among the samples, with the ends of the 95 %
    confidence interval. Near 0: it does without."""

    name: str
    """The column or input; `name[3]`: one number of it."""
    loss: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Importance:
    """What a candidate looks at: permutation importance on the holdout (Breiman 2001)."""

    metric: Literal["accuracy", "mae", "hamming_loss", "mean_score"]
    """In which units the losses are: what accuracy falls by; what the mean absolute error, the share of wrong labels, or the
    mean score rises by."""
    samples: int
    repeats: int
    """How often each input was shuffled."""
    inputs: tuple[InputImportance, ...]
    """The most important first; a hundred at most."""
    total: int
    """How many inputs there are; the others are less important, or there was no time to measure them."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Candidate and live release on labelled predictions of the API that no training saw."""

    samples: int
    candidate: Metrics | None = None
    live: Metrics | None = None
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()
    """What was left out, and why they were not compared, if they were not."""
    comparisons: tuple[Comparison, ...] = ()
    """In the metrics of the gate's rules."""


@dataclass(frozen=True, slots=True)
class SliceMetrics:
    """The gate's metric on some samples of the holdout."""

    name: str
    """`column=value`."""
    samples: int
    candidate: float
    live: float | None = None
    """None: it was not measured."""
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found out: the candidate, the live release on the same holdout, and the difference."""

    candidate: Metrics
    live: Metrics | None = None
    comparison: Comparison | None = None
    live_note: str = ""
    """Why the live release was not measured, when there is one."""
    importance: Importance | None = None
    """Of the candidate's inputs; None: it was not measured, as of an image's pixels and in earlier versions of Trainyard."""
    learned: int = 0
    """Samples of the holdout that are left out of all that is measured, as a registered version has learned from them: its split
    was another one then."""
    recent: Recent | None = None
    """None: nobody has asked for it, or nothing is live."""
    comparisons: tuple[Comparison, ...] = ()
    """Candidate and live release in the metrics of the gate's rules."""
    slices: tuple[SliceMetrics, ...] = ()
    reported: dict[str, float] = field(default_factory=dict)
    """What a script of the team's says of the candidate; only a rule about `script:NAME` goes by it."""
    live_reported: dict[str, float] = field(default_factory=dict)
    """What one said of the live release, when that was made."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accepted, or every failed criterion, with the policy that was applied."""

    accepted: bool
    reasons: tuple[str, ...]
    policy: Policy
