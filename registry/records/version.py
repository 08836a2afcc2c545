"""A numbered version: its manifest, and the acceptance tests it went through."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from registry.dataclass import dataclass
from registry.records.data import DatasetLabels, DatasetTree, Signature
from registry.records.evaluation import Evaluation, Verdict
from registry.records.run import Sources
from registry.records.training import Served, TrainJob

Outcome = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """The manifest of one version (`card.json`). A version exists when its manifest does."""

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
    """Name → SHA-256 of every file of the version but the manifest."""
    signature: Signature
    served: Served
    evaluation: Evaluation
    verdict: Verdict
    unfenced: tuple[str, ...] | None = None
    """What the kernel could not keep from the worker that trained it, in words; nothing: it was fenced in every respect.
    None: the version was made before workers were fenced."""
    authors: tuple[str, ...] | None = None
    """Authors and committers (`name <address>`) of the three repositories' commits since the version that was live; null
    when that is not known."""
    dataset: DatasetTree | None = None
    """Of which files and samples its dataset was made. None, as all below: made before versions kept this."""
    training: TrainJob | None = None
    """The settings that it was trained with."""
    base: int | None = None
    """The version that its retraining began with, also when a training from scratch came out better in the end."""
    machine: dict[str, str] = field(default_factory=dict)
    """See `TrainResult`."""
    dataset_manifest: str | None = None
    """SHA-256 of the dataset's manifest: path, size and SHA-256 of each file of the dataset commit that does not lie in git;
    null: all of them do."""
    labels: DatasetLabels | None = None
    """Labelled answers that are samples of its dataset; None: there are none, or an earlier version of Trainyard made it."""


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
    """Which tests commit tested a version, in which runner, with which result; append-only per version."""

    model: str
    version: int
    number: int
    card: str
    """SHA-256 of the manifest that was tested."""
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
    """SHA-256 of the record before this one; of the manifest for the first."""
