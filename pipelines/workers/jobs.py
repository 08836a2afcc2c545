"""The jobs of the workers in this package. Light: the controller writes them."""

from __future__ import annotations

from dataclasses import field

from registry.dataclass import dataclass
from registry.records import Comparison, Served, Signature, Task

ANSWERS = "answers"
"""The folder of the outputs with what `pipelines.workers.answers` writes."""


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model to be measured; its files are in the input `candidate` or `live`."""

    signature: Signature
    served: Served
    files: dict[str, str]
    """Name → SHA-256, as its TrainResult or manifest has them. What is served is hashed again before it is measured."""
    version: int | None = None
    """Null for a candidate that is not registered yet."""
    other_code: bool = False
    """It was made from another commit of the code than the one whose `load_data` reads the holdout."""


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """The job of `pipelines.workers.evaluate`; its result is an Evaluation.

    Inputs: `holdout` (prepared split), `candidate` (its files), `live` (the live version's files, with `live` below),
    and `code` (a code repository, whose `model.py` may define `load_data`) if there is one.
    """

    metric: str
    """The gate's metric, by which candidate and live release are compared."""
    candidate: MeasuredModel
    live: MeasuredModel | None = None
    seed: int = 1
    """For the bootstrap of the comparison, and for what is shuffled."""
    importance: bool = False
    """Whether to measure what the candidate looks at."""
    reference: bool = False
    """Whether to make the candidate's reference, for monitoring."""
    examples: bool = False
    """Whether to leave the answers that people want to see."""
    recent: bool = False
    """Whether to compare on labelled recent predictions, too: the input `recent`, as `pipelines.workers.recent` leaves it."""
    min_samples: int = 0
    """How many samples of the holdout must be left without those that a measured version has learned from."""
    more: tuple[str, ...] = ()
    """Further metrics, of the gate's rules."""
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Truth → answer → cost."""
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → values: on these samples alone the metric is measured, too."""
    answers: bool = False
    """Whether to leave the answers for `metrics.py` of the tests repository, under `outputs/answers`."""


@dataclass(frozen=True, slots=True)
class OwnJob:
    """The job of `pipelines.workers.own_metrics`; its result is an OwnResult.

    Inputs: `answers` (as the evaluation leaves them) and `tests` (a tests repository).
    """

    measures: tuple[str, ...]
    """Metrics with the functions' names."""
    seconds: float
    """For all of them together."""
    live_version: int = 0
    seed: int = 1
    """For the bootstrap of the comparisons."""


@dataclass(frozen=True, slots=True)
class OwnNumbers:
    """What the functions say of some samples."""

    candidate: dict[str, float] = field(default_factory=dict)
    live: dict[str, float] = field(default_factory=dict)
    """Empty: it was not measured."""
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be measured."""


@dataclass(frozen=True, slots=True)
class OwnResult:
    """What the team's `metrics.py` says of the candidate and of the live release."""

    holdout: OwnNumbers
    recent: OwnNumbers
    """On labelled recent predictions; empty where nobody has asked for them."""


@dataclass(frozen=True, slots=True)
class RecentRow:
    """An answered instance whose label is known."""

    request: str
    row: int
    label: str
    """Empty: the answer was right."""


@dataclass(frozen=True, slots=True)
class RecentJob:
    """The job of `pipelines.workers.recent`, as JSON on stdin."""

    model: str
    log: str
    """The folder of the prediction log."""
    manifest: str
    """The file of the dataset that lists which answers are samples of it; it need not exist."""
    folder: str
    """Where the arrays go."""
    signature: Signature
    """Of the live release: its inputs are what is kept."""
    rows: tuple[RecentRow, ...]
    committed: int = 0
    """How many others are left out already, as they are samples of the dataset."""


@dataclass(frozen=True, slots=True)
class CompareJob:
    """The job of `pipelines.workers.differences`; its result is a Differences.

    Inputs: `holdout` (prepared split), `then` and `again` (the files of both models), and `code` if there is one.
    """

    then: MeasuredModel
    again: MeasuredModel


@dataclass(frozen=True, slots=True)
class Differences:
    """Between two models that should be the same. Null: it could not be measured; `notes` says why."""

    weights: float | None
    """The largest absolute difference of two weights."""
    predictions: float | None
    """The largest absolute difference of two numbers that they predict for a sample of the holdout."""
    samples: int
    then: dict[str, float]
    """The metrics of the one on the holdout, and of the other."""
    again: dict[str, float]
    notes: tuple[str, ...] = ()
    by_predictions: bool = False
    """Neither of them has weights that could be compared one by one: they are models of ONNX."""


@dataclass(frozen=True, slots=True)
class MonitoredRelease:
    """A release whose predictions may be in a window, and what its version's manifest says."""

    number: int
    at: str
    """When it was made, UTC."""
    version: int
    task: Task | None = None
    """None: nothing is known of the version."""
    classes: tuple[str, ...] = ()
    """In the order of the probabilities, of which an answer is one; empty for numbers and labels."""
    output: str = ""
    """The first one: the probabilities, or the number."""
    metric: str = ""
    """The gate's."""
    drops: dict[str, float] = field(default_factory=dict)
    """The metrics of the gate's rules that compare with what is live → how much worse each may be."""
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Truth → answer → cost."""
    then: dict[str, float] = field(default_factory=dict)
    """The metrics on the holdout."""
    samples: int = 0
    """Of the holdout."""
    reference: str = ""
    """The file; empty: there is none."""
    note: str = ""
    """Why there is none, or why nothing is known of the version."""


@dataclass(frozen=True, slots=True)
class MonitorRules:
    """The settings by which windows are cut, and checks fail; see `[monitoring]`."""

    window_minutes: float = 15.0
    longest_hours: float = 24.0
    min_rows: int = 200
    alpha: float = 0.05
    effect: float = 0.08
    share: float = 0.02
    ignore: tuple[str, ...] = ()
    max_drop: float = 0.05
    max_error_share: float = 0.05
    max_latency_ms: float = 0.0
    no_traffic_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class MonitorJob:
    """The job of `pipelines.workers.monitor`, as JSON on stdin; its result is a Looked."""

    model: str
    log: str
    """The folder of the prediction log."""
    labels: str
    """The file of the label store, which need not be there."""
    since: str
    """Where the last window ended, UTC."""
    until: str
    """Of what was before, no more lines will come."""
    releases: tuple[MonitoredRelease, ...]
    """Oldest first: the one that was live at `since`, and all after it."""
    rules: MonitorRules = field(default_factory=MonitorRules)
    keep_days: int = 30
    max_mb: int = 1024
    compact: bool = True
    """Whether to bring closed segments of the log into Parquet first."""
