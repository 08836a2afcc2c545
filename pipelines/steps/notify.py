"""notify: the report and the mail to the product owner, whatever the outcome. Neither ever changes the verdict."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from pipelines.approvals.mail_links import make_link
from pipelines.approvals.people import address
from pipelines.approvals.policy import in_words
from pipelines.approvals.tokens import approval_secret, expires_at, make_token
from pipelines.command_line import command_line
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.mail.compose import compose
from pipelines.mail.facts import MailFacts
from pipelines.mail.outbox import deliver, post
from pipelines.mail_facts import collect_facts
from pipelines.report_address import shown_at
from pipelines.runs import STARTED_BY_MONITOR, RunFolder
from registry import candidates
from registry.errors import PipelineError
from registry.heads import write_head
from registry.records import Run


def main(context: Context, folder: RunFolder) -> str:
    """Write the report, post one mail per run and outcome, and deliver all that waits in the outbox; gives a line
    about what became of it."""
    if (fetched := folder.record("fetch")) and fetched.outcome == "enough":
        return "; ".join(("no mail: nothing is new", *_report(context, folder, None)))
    facts = collect_facts(context, folder)
    problems = _report(context, folder, facts)
    facts = dataclasses.replace(facts, places=(*facts.places, *_track(context, folder, facts)))
    return "; ".join((_mail(context, folder, facts), *problems))


def _report(context: Context, folder: RunFolder, facts: MailFacts | None) -> tuple[str, ...]:
    """Write `report/`; gives what prevented it."""
    from pipelines.report import write_report

    try:
        write_report(context, folder, facts)
    except (PipelineError, OSError) as error:
        return (f"no report: {error}",)
    except Exception as bug:  # noqa: BLE001  (the mail must go out, whatever fails in a report)
        import traceback

        traceback.print_exc()
        return (f"no report, a bug in Trainyard: {bug!r}",)
    return ()


def _track(context: Context, folder: RunFolder, facts: MailFacts) -> tuple[tuple[str, str], ...]:
    """Record the run in other tools; gives where, or what prevented it."""
    if not (context.config.tracking.mlflow or context.config.tracking.openlineage):
        return ()
    from pipelines.exports import tracking

    return tracking.record(context, folder, facts)


def _mail(context: Context, folder: RunFolder, facts: MailFacts) -> str:
    outbox = context.config.own_folder / "outbox"
    files = post(compose(_more(context, folder, facts)), outbox)
    delivery = deliver(outbox, context.config.mail, secret("SMTP_PASSWORD", os.environ))
    paths = [path for each in files for path in (each, outbox / "sent" / each.name, outbox / "failed" / each.name)]
    (folder.job("notify") / "mail.txt").write_text(
        "\n".join(str(path) for path in paths if path.exists()), encoding="utf-8"
    )
    to = ", ".join(facts.to)
    if any(path.name in delivery.sent for path in files):
        return f"mailed {to}"
    return f"mail to {to}: " + ("; ".join(delivery.reasons) or f"it is in {files[0].parent}")


def _more(context: Context, folder: RunFolder, facts: MailFacts) -> MailFacts:
    """The same with what only the mail has: where to read more, and how to approve."""
    facts = dataclasses.replace(facts, places=(*_places(context, folder), *facts.places), head=_head(context))
    acceptance = facts.acceptance
    if acceptance and acceptance.accepted and acceptance.version != folder.run.parent:
        command = _approval(context, acceptance.version)
        policy = context.config.approval
        who = who_decides(context.config, folder.run)
        page = decision_page(context.config, acceptance.version, acceptance.card)
        until = expires_at(policy.valid_days)
        facts = dataclasses.replace(facts, command=command, page=page, expires_at=until, approvers=who)
    return facts


def decision_page(config: Config, version: int, digest: str) -> str:
    """Where people decide about a version; empty without `[console] url`. With `mail_link = "decide"` the address signs the one
    person in to whom the mail is sent; several read the same mail, and sign in themselves."""
    url, to = config.console.url.rstrip("/"), config.mail.to
    if url and config.console.mail_link == "decide" and len(to) == 1:
        return url + make_link(approval_secret(Path(config.home)), config.model, version, digest, address(to[0]))
    return f"{url}/models/{config.model}/decision/{version}" if url else ""


def who_decides(config: Config, run: Run) -> str:
    """Who must approve what the run has made; empty when whoever reads the mail may."""
    if config.monitoring.auto_promote and run.started_by == STARTED_BY_MONITOR:
        return "The monitor promotes it without a person, if it may ([monitoring] auto_promote); its own mail says whether it did."
    return in_words(config.approval)


def _head(context: Context) -> str:
    """What the registry holds now, as a signed line: whoever has the mail can check the registry by it."""
    try:
        found = write_head(context.store, context.config.model)
    except PipelineError as error:  # the mail must go out, and say so
        return f"none: {error}"
    return found.line if found else ""


def _places(context: Context, folder: RunFolder) -> Iterator[tuple[str, str]]:
    if build := os.environ.get("BUILD_URL"):
        yield "build", build
    if context.config.serving.deploy == "jenkins":
        from pipelines.jenkins_server.builds import model_job_path

        url = context.config.jenkins.url.rstrip("/")
        yield "approve in Jenkins", f"{url}/{model_job_path(context.config, 'promotion')}/build"
    page = folder.root / "report" / "index.html"
    if page.exists():
        yield "report", shown_at(context.config, page)


def _approval(context: Context, version: int) -> str:
    """The command that promotes the version, with its token."""
    config = context.config
    digest = candidates.manifest_digest(context.store, config.model, version)
    token = make_token(approval_secret(context.home), config.model, version, digest)
    return command_line(config, "promote", config.model, str(version), "--approval", token)
