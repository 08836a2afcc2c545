"""What the steps share. Each noun is one JSON file in a run folder or in the registry; see `registry.codec`."""

from __future__ import annotations

import hashlib
import keyword
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Trigger = Literal["code", "dataset", "tests"]
Task = Literal["classification", "regression"]
Outcome = Literal["passed", "failed", "error", "skipped"]

DIRECTION = {"accuracy": 1, "macro_f1": 1, "r2": 1, "loss": -1, "brier": -1, "ece": -1, "mae": -1, "rmse": -1}
"""The metrics that a policy may name: 1 when more is better, -1 when less is."""


def utc_now() -> str:
    """Now, in UTC, as ISO 8601 with seconds: `2026-11-21T00:47:04Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Sources:
    """The three commits that a run is about. Same sources, same run."""

    code: str
    dataset: str
    tests: str


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of one pipeline = one folder; `id` is a hash of all that went in."""

    id: str
    model: str
    trigger: Trigger
    sources: Sources
    config: str
    """SHA-256 of the settings that can change the outcome."""
    parent: int | None
    """The version that was live when the run was resolved."""
    candidate: int | None
    """The newest candidate at that time."""
    created_at: str
    forced: bool = False
    reason: str = ""
    """Why a person or a schedule started it, in their words."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output. `shape[0]` is the batch: null (any)."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    """NumPy's name (`float32`, `uint8`, `int32`, …) or `string`."""
    low: float | None = None
    """The smallest value that a request may hold; null: any finite one."""
    high: float | None = None

    @property
    def tensor(self) -> str:
        """What the served file calls it: its name, or, for one that TensorFlow cannot carry, an identifier made of it."""
        if self.name.isascii() and self.name.isidentifier() and not keyword.iskeyword(self.name):
            return self.name
        return f"input_{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into a model and what comes out, in the order and under the names the served file uses."""

    task: Task
    kind: Literal["image", "table", "array"]
    """How a person sends one sample: a picture, named columns, or bare numbers."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    classes: tuple[str, ...] = ()
    """Class names, by output index; empty for regression."""
    image_mode: Literal["", "L", "RGB"] = ""
    target: str = ""
    """The predicted column of a table."""


@dataclass(frozen=True, slots=True)
class Served:
    """Which file answers requests, through which engine, and why this one."""

    engine: Literal["litert", "saved_model"]
    path: str
    """`model.tflite` or `saved_model`, relative to the version's folder."""
    reason: str
    batches: tuple[int, ...] = ()
    """Batch sizes with a signature of their own (`batch_1`, `batch_8`); empty: any batch size."""


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


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class on the holdout."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Measured with the very file that is served, on the holdout, which training never saw."""

    task: Task
    samples: int
    values: dict[str, float]
    """classification: accuracy, loss (log loss, nats), macro_f1, brier, ece; regression: mae, rmse, r2, loss (MSE)."""
    classes: dict[str, ClassMetrics] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows: truth, columns: prediction, both in the order of the signature's classes."""
    calibration: tuple[tuple[float, float, int], ...] = ()
    """Bins of (mean confidence, accuracy, samples)."""


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
class Evaluation:
    """What `evaluate` found out: the candidate, the live release on the same holdout, and the difference."""

    candidate: Metrics
    live: Metrics | None = None
    comparison: Comparison | None = None
    live_note: str = ""
    """Why the live release was not measured, when there is one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Yes, or every reason for no, with the policy that was applied."""

    accepted: bool
    reasons: tuple[str, ...]
    policy: Policy


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What goes into a training worker. Its folder holds `inputs/code`, `inputs/train`, `inputs/validation`
    and, for retraining, `inputs/model` (a registered version's files)."""

    model: str
    seed: int
    epochs: int
    batch_size: int
    max_attempts: int
    patience: int
    metric: str
    """The gate's metric, measured on the validation split."""
    threshold: float
    command: tuple[str, ...] = ()
    """A team's own script instead of `model.py`."""
    parity_command: tuple[str, ...] = ()
    """Checks the converted file in a process without TensorFlow; see `training.export`."""
    retrain_epochs: int = 0
    learning_rate: float = 0.0
    """For fine-tuning; 0: a tenth of the rate that the model was compiled with."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What comes out of a training worker: files under `outputs/`, each with its SHA-256."""

    files: dict[str, str]
    signature: Signature
    served: Served
    how: Literal["trained", "fine-tuned", "command"]
    note: str
    """Why it was done this way, for the mail and the card."""
    attempt: int
    epochs: int
    seed: int
    validation: dict[str, float]
    reached: bool
    """Whether the threshold was reached on the validation split."""
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """The card of one version. A version exists when its card does."""

    model: str
    version: int
    run: str
    sources: Sources
    created_at: str
    how: str
    note: str
    seed: int
    parent: int | None
    image: str | None
    """Digest of the worker image; null when the worker was a plain process."""
    packages: dict[str, str]
    files: dict[str, str]
    """Name → SHA-256 of every file of the version but the card."""
    signature: Signature
    served: Served
    evaluation: Evaluation
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class TestCase:
    """One check or one pytest test."""

    __test__ = False  # not a pytest class
    name: str
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class TestReport:
    """All cases of one suite."""

    __test__ = False
    suite: str
    cases: tuple[TestCase, ...]

    @property
    def failed(self) -> tuple[TestCase, ...]:
        """The cases that did not pass; a skipped case is not among them."""
        return tuple(case for case in self.cases if case.outcome in {"failed", "error"})


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A short load test of the API. Latencies in milliseconds."""

    requests: int
    failures: int
    seconds: float
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Which run has a version's number, or wants it. No other run gets it."""

    model: str
    version: int
    run: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which tests commit tried a version, in which engine, with which result; append-only per version."""

    model: str
    version: int
    number: int
    card: str
    """SHA-256 of the card that was tried."""
    tests: str
    run: str
    engine: str
    """The runner: `process` or `docker`."""
    accepted: bool
    reasons: tuple[str, ...]
    reports: tuple[TestReport, ...]
    load: LoadReport | None
    at: str
    previous: str
    """SHA-256 of the record before this one; of the card for the first."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who said yes, to exactly which card, when; append-only per model."""

    number: int
    model: str
    version: int
    card: str
    token: str
    """The id inside the approval token: one token, one release."""
    by: str
    at: str
    previous: str
    """SHA-256 of the record before this one; empty for the first."""


@dataclass(frozen=True, slots=True)
class Release:
    """Says: from now on, this version. The highest number is live; a rollback is a new release."""

    number: int
    model: str
    version: int | None
    """Null: nothing is live any more (the first release failed to go live and was withdrawn)."""
    card: str
    by: str
    at: str
    reason: str
    approval: int | None
    previous: str
