"""Whether a version passes its acceptance test: the rule, apart from the tests. Light: the controller imports this."""

from __future__ import annotations

from unit_tests.job import API, LOAD, TESTS, AcceptResult


def decide(result: AcceptResult) -> tuple[bool, tuple[str, ...]]:
    """Whether the version is accepted, and every reason when it is not. Pure.

    A suite that is missing, or a tests repository of which no test passed, has shown nothing: the version is rejected.
    """
    reports = {report.suite: report for report in result.reports}
    reasons = [f"{suite}: was not run" for suite in (API, LOAD, TESTS) if suite not in reports]
    for report in result.reports:
        reasons += [
            f"{report.suite}: {case.name}: {_first_line(case.message) or case.outcome}" for case in report.failed
        ]
    tests = reports.get(TESTS)
    if tests and not tests.failed and not any(case.outcome == "passed" for case in tests.cases):
        count = len(tests.cases)
        reasons.append(
            f"tests: all {count} tests were skipped: nothing was tested" if count else "tests: the repository has none"
        )
    return not reasons, tuple(reasons)


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0][:300]
