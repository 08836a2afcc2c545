"""What the mail and the report say about a run, as one record. `pipelines.mail_facts` reads it from the run's folder."""

from __future__ import annotations

from typing import Literal

from pipelines.repositories.changes import Changes
from registry.dataclass import dataclass
from registry.records import Acceptance, Evaluation, Run, Verdict

Status = Literal["accepted", "rejected", "failed", "kept", "tested", "nothing"]


@dataclass(frozen=True, slots=True)
class MailFacts:
    """All that is known about one run. What is not known stays empty, and is not mentioned."""

    run: Run
    status: Status
    sender: str
    to: tuple[str, ...]
    reply_to: tuple[str, ...] = ()
    """Who gets the answers; empty: the sender."""
    to_authors: bool = False
    """Whether it goes to the authors of new commits alone, and not to the product owner."""
    version: int | None = None
    """The candidate; null when none was registered."""
    live_version: int | None = None
    """What answers requests now."""
    earlier_version: int | None = None
    """What a rollback would go back to; null when nothing was live before."""
    note: str = ""
    """How the candidate was made, or why there is none."""
    verdict: Verdict | None = None
    evaluation: Evaluation | None = None
    acceptance: Acceptance | None = None
    live_acceptance: Acceptance | None = None
    plot: bytes = b""
    """PNG: confusion matrix, predicted against true values, or how well each label is found."""
    changes: tuple[Changes, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()
    """Step → wall seconds."""
    command: str = ""
    """The promotion command with its token; empty when there is nothing to approve."""
    page: str = ""
    """The address of the console's page about the candidate; empty when there is none."""
    expires_at: str = ""
    rollback: str = ""
    """The command that goes back to the version before."""
    approvers: str = ""
    """Who must approve, in words; empty when whoever has the command may."""
    places: tuple[tuple[str, str], ...] = ()
    """What → folder or address, for further reading."""
    head: str = ""
    """The registry's newest head as a line, or why there is none; empty in a registry that is not signed."""
    failed_step: str = ""
    stopped: bool = False
    """Whether that was stopped from outside."""
    error: str = ""
    hint: str = ""

    @property
    def candidate(self) -> str:
        """The candidate in words."""
        return f"version {self.version}" if self.version is not None else "the new model"

    @property
    def live(self) -> str:
        """What is live, in words."""
        return f"version {self.live_version}" if self.live_version is not None else "nothing yet"

    @property
    def live_fails(self) -> bool:
        """Whether what answers requests now fails the newest acceptance tests."""
        found = self.live_acceptance
        return found is not None and not found.accepted and not self.tests_broken

    @property
    def tests_broken(self) -> bool:
        """Whether the tests repository's tests could not be run on what answers requests: all that did not pass are
        errors of the tests themselves (a fixture or a module that is not there), which say nothing about a release."""
        reports = self.live_acceptance.reports if self.live_acceptance else ()
        failed = [(report.suite, case.outcome) for report in reports for case in report.failed]
        return bool(failed) and set(failed) == {("tests", "error")}

    @property
    def live_tested_apart(self) -> bool:
        """Whether the live release was tested, and is not the candidate."""
        return self.live_acceptance is not None and (self.acceptance is None or self.live_version != self.version)

    @property
    def failed_criteria(self) -> tuple[str, ...]:
        """Those of the gate, then those of the acceptance tests."""
        gate = self.verdict.reasons if self.verdict else ()
        return gate + (self.acceptance.reasons if self.acceptance and not self.acceptance.accepted else ())

    @property
    def metric(self) -> str:
        """The metric that the gate decides by, else the first that was measured, else empty."""
        if self.verdict:
            return self.verdict.policy.measure
        return next(iter(self.evaluation.candidate.values), "") if self.evaluation else ""
