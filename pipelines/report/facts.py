"""What the report shows beyond the mail: the training's history, the data, the checks, the version manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pipelines.context import Context
from pipelines.mail.facts import MailFacts
from pipelines.mail_facts import measured_in
from pipelines.report.files import Collected
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec
from registry.dataclass import dataclass
from registry.errors import PipelineError
from registry.records import Candidate, TestReport
from training.data.spec import Validation
from training.loop.history import HISTORY, PROGRESS, History, Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """All that a report says. What is not known is empty."""

    facts: MailFacts
    records: tuple[StepRecord, ...]
    measured: str
    """The job folder with the plots that count; empty when nothing was measured."""
    history: History | None = None
    validation: Validation | None = None
    expectations: TestReport | None = None
    manifest: Candidate | None = None
    """Of the version that the run has made, tested or kept."""
    made: int | None = None
    """The version that this run has registered."""

    @property
    def seconds(self) -> float:
        """What all steps took."""
        return sum(each.seconds for each in self.records)

    @property
    def tested(self) -> bool:
        """Whether the acceptance tests have run, or should have."""
        return any(each.step == "accept" for each in self.records)

    @property
    def prepared(self) -> bool:
        """Whether this run has checked the data."""
        return any(each.step == "validate" for each in self.records) or (
            self.facts.run.trigger == "tests" and self.tested
        )


def gather(context: Context, folder: RunFolder, facts: MailFacts, files: Collected) -> ReportFacts:
    """Read what there is; what cannot be read is left out, with a note in `files`."""
    run = folder.run
    records = tuple(folder.records())
    known = ReportFacts(facts, records, measured_in(records[-1]) if facts.evaluation else "")
    if any(each.step == "register" and each.final for each in records):
        known = replace(known, made=_or_note(files, lambda: candidates.find_run(context.store, run.model, run.id)))
    if known.prepared:
        found = _read(Validation, folder, "validate/result.json", files)
        expectations = _read(TestReport, folder, "expectations/result.json", files)
        known = replace(known, validation=found, expectations=expectations)
    return replace(known, history=_history(folder, known, files), manifest=_manifest(context, known, files))


def _read(kind: type[T], folder: RunFolder, name: str, files: Collected) -> T | None:
    data = files.read(folder.root / name, name)
    return _or_note(files, lambda: codec.from_json(kind, data, name)) if data else None


def _history(folder: RunFolder, known: ReportFacts, files: Collected) -> History | None:
    """Of the training; when that has failed, as far as it came."""
    ended = next((each for each in known.records if each.step in {"train", "retrain"}), None)
    if ended is None or ended.outcome == "enough":
        return None
    if ended.outcome == "done":
        return _read(History, folder, f"train/outputs/{HISTORY}", files)
    progress = _read(Progress, folder, f"train/checkpoints/{PROGRESS}", files)
    return progress.history if progress else None


def _manifest(context: Context, known: ReportFacts, files: Collected) -> Candidate | None:
    """Of the version that the run has made, tested or kept."""
    run, version = known.facts.run, known.made
    if run.trigger == "tests":
        version = run.candidate if run.candidate is not None else run.parent
    elif known.facts.status == "kept":
        version = known.facts.version
    if version is None or known.facts.status == "nothing":
        return None
    return _or_note(files, lambda: candidates.manifest(context.store, run.model, version))


def _or_note(files: Collected, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except PipelineError as error:  # the step that needs what is damaged reports it
        files.notes.append(str(error))
        return None
