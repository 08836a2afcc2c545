"""notify: the mail to the product owner, whatever the outcome. A mail that cannot be sent now never changes the verdict."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from pipelines import flow
from pipelines.approval import approval_secret, expires_at, make_token
from pipelines.config_file import secret
from pipelines.context import Context
from pipelines.mail import deliver, post
from pipelines.message import MAX_PICTURE, MailFacts, Status, compose
from pipelines.runs import RunFolder, StepRecord
from pipelines.steps.fetch import Fetched
from registry import candidates, codec
from registry.errors import ConfigError, Corrupt, PipelineError
from registry.nouns import Acceptance, Evaluation, Verdict
from training.worker import read_foreign


def main(context: Context, folder: RunFolder) -> str:
    """Post one mail per run and outcome, and deliver all that waits in the outbox; tells what became of it."""
    outbox = context.home / "outbox"
    if (fetched := folder.record("fetch")) and fetched.outcome == "enough":
        return "no mail: nothing is new"
    files = post(compose(_facts(context, folder)), outbox)
    delivery = deliver(outbox, context.config.mail, secret("SMTP_PASSWORD", os.environ))
    places = [path for each in files for path in (each, outbox / "sent" / each.name, outbox / "failed" / each.name)]
    (folder.job("notify") / "mail.txt").write_text(
        "\n".join(str(path) for path in places if path.exists()), encoding="utf-8"
    )
    to = ", ".join(context.config.mail.to)
    if any(path.name in delivery.sent for path in files):
        return f"mailed {to}"
    return f"mail to {to}: " + ("; ".join(delivery.reasons) or f"it is in {files[0].parent}")


def _facts(context: Context, folder: RunFolder) -> MailFacts:
    run, config = folder.run, context.config
    records = folder.records(flow.FLOWS[run.trigger][:-1])
    if not records:
        raise ConfigError(f"{folder.root}: no step has run yet, there is nothing to tell")
    last = records[-1]
    version = run.candidate if run.trigger == "tests" else candidates.find_run(context.store, run.model, run.id)
    acceptance, live = (_trial(context, folder, each) for each in (version, run.parent))
    kept = last.outcome == "enough"
    measured = "before" if kept else "evaluate"
    facts: dict[str, Any] = _failure(last) if last.outcome == "failed" else {}
    if acceptance and acceptance.accepted and version != run.parent:
        facts |= _approval(context, version or 0)
    return MailFacts(
        run=run,
        status=_status(last, run.trigger),
        sender=config.mail.sender,
        to=config.mail.to,
        version=(run.parent or run.candidate) if kept else version if acceptance else None,
        live_version=run.parent,
        note=last.note if kept else "",
        verdict=_read(Verdict, folder.root / "gate" / "verdict.json"),
        evaluation=_read(Evaluation, folder.root / measured / "result.json"),
        acceptance=acceptance,
        live_acceptance=live,
        picture=_picture(folder.outputs(measured)),
        changes=_changes(folder),
        seconds=tuple((each.step, each.seconds) for each in records),
        places=(("run folder", str(folder.root)), ("registry", config.registry.url)),
        **facts,
    )


def _status(last: StepRecord, trigger: str) -> Status:
    if last.outcome == "failed":
        return "failed"
    if trigger == "tests":
        return "tested"
    statuses: dict[str, Status] = {"done": "accepted", "no": "rejected", "enough": "kept"}
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


def _approval(context: Context, version: int) -> dict[str, str]:
    """The command that promotes the version, with its token."""
    config = context.config
    card = candidates.card_digest(context.store, config.model, version)
    token = make_token(approval_secret(context.home), config.model, version, card)
    program = "trainyard" if shutil.which("trainyard") else str(Path(sys.executable).parent / "trainyard")
    command = [program, "promote", config.model, str(version), "--config", config.file, "--approval", token]
    return {"command": shlex.join(command), "expires_at": expires_at(config.approval.valid_days)}


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
