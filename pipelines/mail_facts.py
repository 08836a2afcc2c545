"""How a run ended, read from its folder and the registry: what the mail and the report say about it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

from pipelines.command_line import command_line
from pipelines.context import Context
from pipelines.mail.compose import MAX_PLOT
from pipelines.mail.facts import MailFacts, Status
from pipelines.mail.recipients import for_failure
from pipelines.report_address import shown_at
from pipelines.repositories.changes import Changes, Fetched
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec, releases
from registry.errors import ConfigError, Corrupt, PipelineError
from registry.records import Acceptance, Evaluation, Verdict
from registry.undo import live_before
from training.worker.protocol import read_foreign

T = TypeVar("T")


def collect_facts(context: Context, folder: RunFolder) -> MailFacts:
    """All but the approval command. A record of a step counts when the step's last try has ended with it.

    Raises ConfigError when no step has run yet, Corrupt when a record cannot be read.
    """
    run, config = folder.run, context.config
    records = folder.records()
    if not records:
        raise ConfigError(f"{folder.root}: no step has run yet, there is nothing to report")
    last = records[-1]
    version = run.candidate if run.trigger == "tests" else candidates.find_run(context.store, run.model, run.id)
    acceptance, live = (_acceptance(context, folder, each) for each in (version, run.parent))
    kept, failed = last.outcome == "enough", last.outcome == "failed"
    ended = {each.step for each in records if each.final}
    measured = measured_in(last) if kept or "evaluate" in ended else ""
    changes, alarm = _changes(folder), live is not None and not live.accepted
    to_team = for_failure(config.mail, run.trigger, changes) if failed and not alarm else config.mail.to
    return MailFacts(
        run=run,
        status=_status(last, run.trigger),
        sender=config.mail.sender,
        to=to_team,
        reply_to=config.mail.reply_to,
        to_authors=not set(to_team) & set(config.mail.to),
        rollback=command_line(config, "rollback", run.model),
        version=(run.parent or run.candidate) if kept else version if acceptance else None,
        live_version=run.parent,
        earlier_version=_earlier(context, run.model) if alarm else None,
        note=last.note if kept else "",
        verdict=_read(Verdict, folder.root / "gate" / "verdict.json") if "gate" in ended else None,
        evaluation=_read(Evaluation, folder.root / measured / "result.json") if measured else None,
        acceptance=acceptance,
        live_acceptance=live,
        plot=_plot(folder.outputs(measured)) if measured else b"",
        changes=changes,
        seconds=tuple((each.step, each.seconds) for each in records),
        places=(("run folder", shown_at(config, folder.root)), ("registry", config.registry.url)),
        failed_step=last.step if failed else "",
        stopped=last.stopped,
        error=last.note if failed else "",
        hint=last.hint if failed else "",
    )


def measured_in(last: StepRecord) -> str:
    """The job folder with the measurements that count: of the new model, or of the old one when that is kept."""
    return "before" if last.outcome == "enough" else "evaluate"


def _earlier(context: Context, model: str) -> int | None:
    """The version that a rollback would go back to."""
    try:
        history = releases.releases(context.store, model)
        found = live_before(history) if history else None
    except PipelineError as error:  # the mail about damage must be sent, too
        context.progress.note(f"notify: {error}")
        return None
    return found.version if found else None


def _status(last: StepRecord, trigger: str) -> Status:
    if last.outcome == "failed":
        return "failed"
    if (last.step, last.outcome) == ("fetch", "enough"):
        return "nothing"
    if trigger == "tests":
        return "tested"
    statuses: dict[str, Status] = {"done": "accepted", "rejected": "rejected", "enough": "kept"}
    return statuses[last.outcome]


def _acceptance(context: Context, folder: RunFolder, version: int | None) -> Acceptance | None:
    """The newest record of this run's acceptance tests of a version."""
    if version is None:
        return None
    try:
        found = candidates.acceptances(context.store, folder.run.model, version)
    except PipelineError as error:  # the mail about damage must be sent, too
        context.progress.note(f"notify: {error}")
        return None
    return next((each for each in reversed(found) if each.run == folder.run.id), None)


def _changes(folder: RunFolder) -> tuple[Changes, ...]:
    """The repositories that have new commits."""
    fetched = _read(Fetched, folder.root / "fetched.json")
    return tuple(each for each in fetched.changes if each.commits) if fetched else ()


def _plot(outputs: Path) -> bytes:
    """What the evaluation has drawn. A worker ran foreign code there: only a regular file counts."""
    for name in ("confusion.png", "scatter.png", "labels.png", "scores.png"):
        with contextlib.suppress(FileNotFoundError, Corrupt):
            return read_foreign(outputs / name, MAX_PLOT)
    return b""


def _read(kind: type[T], path: Path) -> T | None:
    return codec.read(kind, path) if path.exists() else None
