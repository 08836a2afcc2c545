"""What goes into an acceptance test and what comes out. Light: the controller imports this."""

from __future__ import annotations

from dataclasses import dataclass

from registry.records import LoadReport, TestReport

API, LOAD, TESTS = "api", "load", "tests"
"""The suites of an acceptance test: Trainyard's checks over HTTP, the load test, the tests repository's pytest."""


@dataclass(frozen=True, slots=True)
class AcceptJob:
    """What goes into `unit_tests`; comes out as AcceptResult, with `outputs/junit.xml` beside it.

    Inputs: `version` (the version's folder, with card.json), `tests` (the tests repository), and if there are any
    `holdout` (a prepared split) and `live` (the live version's folder; only its JSON files are read).
    """

    url: str
    """Where the staging instance listens. It may still be loading."""
    admin_url: str
    """Where it answers operators: what each of its processes serves."""
    timeout_seconds: float = 300.0
    """For the tests repository's pytest."""
    ready_seconds: float = 60.0
    """For the API to become ready."""
    answer_seconds: float = 10.0
    """For one request of the checks. An API that is late twice is not asked again."""
    load_seconds: float = 2.0
    concurrency: int = 4
    """Clients at once in the load test."""
    min_requests_per_second: float = 10.0
    max_p95_ms: float = 1000.0
    max_body_mb: int = 16
    """The limit the API was started with: one byte more must be refused."""

    @property
    def seconds(self) -> float:
        """How long the whole worker may take: the limit to give to a runner."""
        return self.ready_seconds + self.load_seconds + self.timeout_seconds + 120


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """Every check of one acceptance test: suites `api`, `load` and `tests`, as far as it came."""

    reports: tuple[TestReport, ...]
    load: LoadReport | None = None
