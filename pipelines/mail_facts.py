"""How a run has ended, read from its folder and the registry: what the mail and the report say of it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.mail.compose import MAX_PICTURE, MailFacts, Status
from pipelines.repositories.changes import Fetched
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec
from registry.errors import ConfigError, Corrupt, PipelineError
from registry.records import Acceptance, Evaluation, Verdict
from training.worker.protocol import read_foreign


def outcome(context: Context, folder: RunFolder) -> MailFacts:
    """Everything but the approval command; raises ConfigError when no step has run yet."""
    run, config = folder.run, context.config
    records = folder.records()
    if not records:
        raise ConfigError(f"{folder.root}: no step has run yet, there is nothing to tell")
    last = records[-1]
    version = run.candidate if run.trigger == "tests" else candidates.find_run(context.store, run.model, run.id)
    acceptance, live = (_trial(context, folder, each) for each in (version, run.parent))
    kept = last.outcome == "enough"
    measured = measured_in(last)
    # What an earlier try of a step has left, which has not come to its end since, tells nothing about this one.
    done = {each.step for each in records if each.final}
    facts: dict[str, Any] = _failure(last) if last.outcome == "failed" else {}
    return MailFacts(
        run=run,
        status=_status(last, run.trigger),
        sender=config.mail.sender,
        to=config.mail.to,
        version=(run.parent or run.candidate) if kept else version if acceptance else None,
        live_version=run.parent,
        note=last.note if kept else "",
        verdict=_read(Verdict, folder.root / "gate" / "verdict.json") if "gate" in done else None,
        evaluation=_read(Evaluation, folder.root / measured / "result.json") if kept or "evaluate" in done else None,
        acceptance=acceptance,
        live_acceptance=live,
        picture=_picture(folder.outputs(measured)) if kept or "evaluate" in done else b"",
        changes=_changes(folder),
        seconds=tuple((each.step, each.seconds) for each in records),
        places=(("run folder", str(folder.root)), ("registry", config.registry.url)),
        **facts,
    )


def measured_in(last: StepRecord) -> str:
    """The job folder with the measurements that count: of the new model, or of the old one when it is kept."""
    return "before" if last.outcome == "enough" else "evaluate"


def _status(last: StepRecord, trigger: str) -> Status:
    if last.outcome == "failed":
        return "failed"
    if (last.step, last.outcome) == ("fetch", "enough"):
        return "nothing"
    if trigger == "tests":
        return "tested"
    statuses: dict[str, Status] = {"done": "accepted", "rejected": "rejected", "enough": "kept"}
    return statuses[last.outcome]


def _failure(last: StepRecord) -> dict[str, str]:
    return {"failed_step": last.step, "error": last.note, "hint": last.hint}


def _trial(context: Context, folder: RunFolder, version: int | None) -> Acceptance | None:
    """The trial that this run has made of a version."""
    if version is None:
        return None
    try:
        found = candidates.acceptances(context.store, folder.run.model, version)
    except PipelineError as error:  # the mail about damage must go out all the same
        context.progress.note(f"notify: {error}")
        return None
    return next((each for each in reversed(found) if each.run == folder.run.id), None)


def _changes(folder: RunFolder) -> tuple[Any, ...]:
    fetched = _read(Fetched, folder.root / "fetched.json")
    return tuple(each for each in fetched.changes if each.commits) if fetched else ()


def _picture(outputs: Path) -> bytes:
    """What the evaluation has drawn. A worker ran foreign code there: what is no plain file is no picture."""
    for name in ("confusion.png", "scatter.png"):
        with contextlib.suppress(FileNotFoundError, Corrupt):
            return read_foreign(outputs / name, MAX_PICTURE)
    return b""


def _read(kind: Any, path: Path) -> Any:
    return codec.read(kind, path) if path.exists() else None
