"""The checks of a run as the report shows them: what failed first, what passed folded away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipelines.judge import gate_report
from pipelines.measures import duration
from pipelines.message import MailFacts
from pipelines.report.known import Known
from pipelines.report.page import Block, Case, Cases
from registry.nouns import Acceptance, TestCase, TestReport

RANK = {"failed": 0, "error": 0, "skipped": 1, "passed": 2}
MAX_MESSAGE = 4000  # characters
SUITES = {"api": "API in a clone of production", "load": "load", "tests": "model tests (tests repository)"}


def checks(known: Known, most: int) -> Iterator[Block]:
    """The gate's, the trials' and the data's, at most so many per suite."""
    facts = known.facts
    if facts.verdict and facts.evaluation:
        yield _cases("Gate", gate_report(facts.evaluation, facts.verdict.policy), most)
    for name, acceptance in _trials(facts):
        for report in acceptance.reports:
            yield _cases(f"{name}: {SUITES.get(report.suite, report.suite)}", report, most)
    if known.expectations:
        yield _cases("Expectations of the dataset repository", known.expectations, most)


def _trials(facts: MailFacts) -> Iterator[tuple[str, Acceptance]]:
    if facts.acceptance:
        yield facts.candidate.capitalize(), facts.acceptance
    if facts.live_apart and facts.live_acceptance:
        yield f"Live {facts.live}", facts.live_acceptance


def _cases(title: str, report: TestReport, most: int) -> Cases:
    counts = Counter(case.outcome for case in report.cases)
    failed = counts["failed"] + counts["error"]
    said = f"{counts['passed']:,} passed, {failed:,} failed"
    said += f", {counts['skipped']:,} skipped" if counts["skipped"] else ""
    ranked = sorted(report.cases, key=lambda case: RANK[case.outcome])
    shown = tuple(map(_case, ranked[:most]))
    return Cases(f"{title}: {said}", shown, len(ranked) - len(shown), folded=not failed)


def _case(case: TestCase) -> Case:
    message = case.message
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}..."
    return Case(case.outcome, case.name, duration(case.seconds) if case.seconds else "", message)
