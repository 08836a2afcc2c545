"""What is said first about a run: one function per status gives subject, headline, verdict and what to do.

Mail and report begin with the same statement.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.mail.facts import MailFacts, Status
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Box
from registry.dataclass import dataclass
from registry.records import Run

TRIGGERS = {"code": "the model's code", "dataset": "the data", "tests": "the tests"}
MAX_ITEMS = 30  # reasons, failed tests and commits per list


@dataclass(frozen=True, slots=True)
class Statement:
    """The first words about a run."""

    subject: str
    """Of the mail, behind the model's name."""
    headline: str
    """How the run ended, in one sentence."""
    verdict: Box
    to_do: str = ""
    """What is left to do for the team; the product owner's part does not depend on the status."""


def statement(facts: MailFacts) -> Statement:
    """The first words about a run by its status."""
    return STATEMENTS[facts.status](facts)


def _accepted(facts: MailFacts) -> Statement:
    return Statement(
        f"{facts.candidate} accepted{_measured(facts)} - waiting for your approval",
        f"{_name(facts)} was accepted and waits for your approval",
        Box("good", f"Accepted: {facts.candidate} passed every check.", _not_compared(facts)),
    )


def _rejected(facts: MailFacts) -> Statement:
    failed = facts.failed_criteria or (facts.note,)
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Statement(
        f"{facts.candidate} rejected: {failed[0]}{more}",
        f"{_name(facts)} was rejected",
        Box("bad", f"Rejected: {facts.candidate} failed these criteria:", some(failed)),
        "The failed criteria above show the team what is not good enough yet.",
    )


def _failed(facts: MailFacts) -> Statement:
    step = f"the step {facts.failed_step!r}" if facts.failed_step else "the run"
    return Statement(
        f"failed{' in ' + facts.failed_step if facts.failed_step else ''}: {facts.error}",
        f"The run for {facts.run.model} failed before there was a verdict",
        Box("bad", f"{upper(step)} failed: {facts.error}", (f"What helps: {facts.hint}",) if facts.hint else ()),
        "The team should check the error above.",
    )


def _kept(facts: MailFacts) -> Statement:
    return Statement(
        f"{facts.candidate} stays{_measured(facts)}",
        f"{facts.run.model}: {facts.candidate} stays, it is good enough for the new data, too",
        Box("good", "Nothing was retrained, because nothing had to be."),
    )


def _tested(facts: MailFacts) -> Statement:
    results = []
    if facts.acceptance:
        results.append(f"{facts.candidate} {'passes' if facts.acceptance.accepted else 'fails'}")
    if facts.live_tested_apart:
        results.append(f"live {facts.live} {'fails' if facts.live_fails else 'passes'}")
    if facts.tests_broken:
        results = ["they could not be run: see the errors below"]
    result = ", ".join(results) or "there was no version to test"
    passed = facts.acceptance is None or facts.acceptance.accepted
    return Statement(
        f"new tests: {result}",
        f"{facts.run.model} with the new acceptance tests: {result}",
        Box("good" if passed else "bad", f"{upper(result)}."),
    )


def _nothing(facts: MailFacts) -> Statement:
    return Statement(
        "nothing to do",
        f"{facts.run.model}: nothing to do",
        Box("plain", "Nothing was trained or tested, because nothing had to be."),
    )


STATEMENTS: dict[Status, Callable[[MailFacts], Statement]] = {
    "accepted": _accepted,
    "rejected": _rejected,
    "failed": _failed,
    "kept": _kept,
    "tested": _tested,
    "nothing": _nothing,
}


def started_by(run: Run) -> str:
    """Who or what started the run: the end of a sentence."""
    return clean(run.started_by, 200) or f"a push to {TRIGGERS[run.trigger]}"


def upper(text: str) -> str:
    """The text with a capital first letter."""
    return f"{text[:1].upper()}{text[1:]}"


def some(items: tuple[str, ...]) -> tuple[str, ...]:
    """The first `MAX_ITEMS`, and how many more there are."""
    more = len(items) - MAX_ITEMS
    return items if more <= 0 else (*items[:MAX_ITEMS], f"... and {more} more")


def _name(facts: MailFacts) -> str:
    model = facts.run.model
    return f"{upper(facts.candidate)} of {model}" if facts.version is not None else f"The new model for {model}"


def _not_compared(facts: MailFacts) -> tuple[str, ...]:
    """What the approver must know: there is a live version, and nobody knows whether this one is better."""
    note = facts.evaluation.live_note if facts.evaluation else ""
    return (f"{upper(note)}.",) if note else ()


def _measured(facts: MailFacts) -> str:
    return f": {metrics.short(facts.evaluation, facts.metric)}" if facts.evaluation else ""
