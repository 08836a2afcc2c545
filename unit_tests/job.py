"""What goes into a trial and what comes out, and the rule that decides by it. Light: the controller imports this."""

from __future__ import annotations

from dataclasses import dataclass

from registry.records import LoadReport, TestReport

API, LOAD, TESTS = "api", "load", "tests"
"""The suites of a trial: our checks over HTTP, the load test, the tests repository's pytest."""


@dataclass(frozen=True, slots=True)
class AcceptJob:
    """What goes into `unit_tests`; comes out as TrialResult, with `outputs/junit.xml` beside it.

    Inputs: `version` (the version's folder, with card.json), `tests` (the tests repository), and if there are any
    `holdout` (a prepared split) and `live` (the live version's folder; only its JSON files are read).
    """

    url: str
    """Where the API under trial listens. It may still be loading."""
    timeout_seconds: float = 300.0
    """For the tests repository's pytest."""
    ready_seconds: float = 60.0
    """For the API to become ready."""
    answer_seconds: float = 10.0
    """For one request of ours. An API that is late twice is not asked again."""
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
class TrialResult:
    """Every check of one trial: suites `api`, `load` and `tests`, as far as it came."""

    reports: tuple[TestReport, ...]
    load: LoadReport | None = None


def decide(trial: TrialResult) -> tuple[bool, tuple[str, ...]]:
    """Whether the version is accepted, and every reason when it is not. Pure.

    A trial in which a suite is missing, or in which no test of the tests repository passed, has shown nothing: no.
    """
    reports = {report.suite: report for report in trial.reports}
    reasons = [f"{suite}: was not tried" for suite in (API, LOAD, TESTS) if suite not in reports]
    for report in trial.reports:
        reasons += [f"{report.suite}: {case.name}: {_line(case.message) or case.outcome}" for case in report.failed]
    tests = reports.get(TESTS)
    if tests and not tests.failed and not any(case.outcome == "passed" for case in tests.cases):
        count = len(tests.cases)
        reasons.append(
            f"tests: all {count} tests were skipped: nothing was tried" if count else "tests: there are none"
        )
    return not reasons, tuple(reasons)


def _line(message: str) -> str:
    return message.strip().partition("\n")[0][:300]
