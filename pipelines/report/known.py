"""What the report tells beyond the mail: the training's history, the data, the checks, the card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from pipelines.context import Context
from pipelines.mail.compose import MailFacts
from pipelines.mail_facts import measured_in
from pipelines.report.files import Collected
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec
from registry.errors import PipelineError
from registry.records import Candidate, TestReport
from training.data.spec import Validation
from training.loop.history import HISTORY, PROGRESS, History, Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    """All that a report says. What is not known is empty."""

    facts: MailFacts
    records: tuple[StepRecord, ...]
    measured: str
    """The job folder with the pictures that count; empty when nothing was measured."""
    history: History | None = None
    validation: Validation | None = None
    expectations: TestReport | None = None
    card: Candidate | None = None

    made: int | None = None
    """The version that this run has registered."""

    @property
    def metric(self) -> str:
        """The metric that the gate looks at, else the first that was measured."""
        if self.facts.verdict:
            return self.facts.verdict.policy.metric
        return next(iter(self.facts.evaluation.candidate.values), "") if self.facts.evaluation else ""

    @property
    def seconds(self) -> float:
        """What all steps took."""
        return sum(each.seconds for each in self.records)

    @property
    def tried(self) -> bool:
        """Whether a version has been tried, or should have been."""
        return any(each.step == "accept" for each in self.records)

    @property
    def prepared(self) -> bool:
        """Whether this run has looked at the data."""
        return any(each.step == "validate" for each in self.records) or (
            self.facts.run.trigger == "tests" and self.tried
        )


def look(context: Context, folder: RunFolder, facts: MailFacts, files: Collected) -> Known:
    """Read what there is; what cannot be read is noted, and left out."""
    run = folder.run
    records = tuple(folder.records())
    known = Known(facts, records, measured_in(records[-1]) if facts.evaluation else "")
    if any(each.step == "register" and each.final for each in records):
        known = replace(known, made=_or_note(files, lambda: candidates.find_run(context.store, run.model, run.id)))
    if known.prepared:
        found = _read(Validation, folder, "validate/result.json", files)
        expectations = _read(TestReport, folder, "expectations/result.json", files)
        known = replace(known, validation=found, expectations=expectations)
    return replace(known, history=_history(folder, known, files), card=_card(context, known, files))


def _read(kind: type[T], folder: RunFolder, name: str, files: Collected) -> T | None:
    data = files.read(folder.root / name, name)
    return _or_note(files, lambda: codec.from_json(kind, data, name)) if data else None


def _history(folder: RunFolder, known: Known, files: Collected) -> History | None:
    """Of a training that has failed: as far as it came."""
    ended = next((each for each in known.records if each.step in {"train", "retrain"}), None)
    if ended is None or ended.outcome == "enough":
        return None
    if ended.outcome == "done":
        return _read(History, folder, f"train/outputs/{HISTORY}", files)
    progress = _read(Progress, folder, f"train/checkpoints/{PROGRESS}", files)
    return progress.history if progress else None


def _card(context: Context, known: Known, files: Collected) -> Candidate | None:
    """The card of the version that the run has made, tried or kept."""
    run, version = known.facts.run, known.made
    if run.trigger == "tests":
        version = run.candidate if run.candidate is not None else run.parent
    elif known.facts.status == "kept":
        version = known.facts.version
    if version is None or known.facts.status == "nothing":
        return None
    return _or_note(files, lambda: candidates.card(context.store, run.model, version))


def _or_note(files: Collected, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except PipelineError as error:  # damage is told by the step that needs what is damaged
        files.notes.append(str(error))
        return None
