"""The newest window as JUnit XML: one case per check, so that Jenkins draws its trend."""

from __future__ import annotations

from pathlib import Path

from pipelines.monitor.words import KINDS, in_a_sentence
from registry.records import TestCase, TestReport
from registry.records.monitoring import Check, Health
from registry.records.version import Outcome
from training.junit import write_junit

OUTCOMES: dict[str, Outcome] = {"passed": "passed", "failed": "failed", "unknown": "skipped"}


def write(path: Path, health: Health | None) -> None:
    """A suite per kind of check; without a window, no case. Raises OSError."""
    checks = health.checks if health else ()
    write_junit(path, [TestReport(f"monitor.{kind}", tuple(_cases(checks, kind))) for kind in KINDS])


def _cases(checks: tuple[Check, ...], kind: str) -> list[TestCase]:
    return [
        TestCase(f"{each.column} {each.what}".strip(), OUTCOMES[each.outcome], message=in_a_sentence(each))
        for each in checks
        if each.kind == kind
    ]
