"""The checks of a run as the report shows them: what failed first, what passed folded away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipelines.gate import gate_report
from pipelines.mail.facts import MailFacts
from pipelines.report.facts import ReportFacts
from pipelines.report.page import Html, cases
from pipelines.text.duration import duration
from registry.records import Acceptance, TestReport

RANK = {"failed": 0, "error": 0, "skipped": 1, "passed": 2}
SUITES = {"api": "API of a staging instance", "load": "load", "tests": "model tests (tests repository)"}


def checks(known: ReportFacts, most: int) -> Iterator[Html]:
    """Those of the gate, the acceptance tests and the data, at most so many per suite."""
    facts = known.facts
    if facts.verdict and facts.evaluation:
        yield _suite("Gate", gate_report(facts.evaluation, facts.verdict.policy), most)
    for name, acceptance in _acceptances(facts):
        for report in acceptance.reports:
            yield _suite(f"{name}: {SUITES.get(report.suite, report.suite)}", report, most)
    if known.expectations:
        yield _suite("Expectations of the dataset repository", known.expectations, most)


def _acceptances(facts: MailFacts) -> Iterator[tuple[str, Acceptance]]:
    if facts.acceptance:
        yield facts.candidate.capitalize(), facts.acceptance
    if facts.live_tested_apart and facts.live_acceptance:
        yield f"Live {facts.live}", facts.live_acceptance


def _suite(title: str, report: TestReport, most: int) -> Html:
    counts = Counter(case.outcome for case in report.cases)
    failed = counts["failed"] + counts["error"]
    said = f"{counts['passed']:,} passed, {failed:,} failed"
    said += f", {counts['skipped']:,} skipped" if counts["skipped"] else ""
    ranked = sorted(report.cases, key=lambda case: RANK[case.outcome])
    shown = ((case, duration(case.seconds) if case.seconds > 0 else "") for case in ranked[:most])
    return cases(f"{title}: {said}", shown, max(0, len(ranked) - most), folded=not failed)
