"""`trainyard run code|dataset|tests`: one pipeline from its push to its mail, or on from where it was stopped."""

from __future__ import annotations

import argparse
import json
import sys

from pipelines import execute
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.old_runs import tidy
from pipelines.progress.view import open_progress
from pipelines.report_address import shown_at
from pipelines.runs import RunFolder, StepRecord
from pipelines.steps.resolve import Request, resolve
from registry import codec
from registry.errors import TryAgain
from registry.records import Trigger

BY_HAND = "hand, with trainyard run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("trigger", choices=("code", "dataset", "tests"), help="which repository to act for")
    parser.add_argument("--commit", default="", help="a full commit id; default: the head of the watched branch")
    parser.add_argument("--force", action="store_true", help="run although the same sources have been run")
    parser.add_argument("--reason", default="", help="why, for the mail and the record")
    parser.add_argument(
        "--started-by", metavar="WHO", default=BY_HAND, help=f"who or what starts it; default: {BY_HAND}"
    )
    parser.add_argument(
        "--occasion",
        metavar="WHAT",
        default="",
        help="what there is one run for, whatever has been pushed since; asked for again, it resumes",
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Print how the run ended; the exit code is the pipeline's."""
    commits = {args.trigger: args.commit} if args.commit else {}
    folder, record, code = run_pipeline(config, _request(args, commits))
    if args.json:
        print(json.dumps({"run": folder.run.id, "folder": str(folder.root), **json.loads(codec.to_json(record))}))
    return code


def _request(args: argparse.Namespace, commits: dict[str, str]) -> Request:
    return Request(args.trigger, commits, args.force, args.reason, args.started_by, args.occasion)


def run_pipeline(config: Config, request: Request) -> tuple[RunFolder, StepRecord, int]:
    """Resolve and run; "nothing new" when the same run has ended before. Gives the record that decided the run, and the
    exit code: of a run that went well, but could not write its mail, that of the mail."""
    context = Context(config, open_progress())
    folder = resolve(context, request)
    record = folder.ended()
    if record:
        send_waiting(config)
        same = folder.run.occasion or "the same commits, settings and live version"
        say(f"nothing new: run {folder.run.id} of {same} has ended ({record.note})")
    else:
        record = execute.run_flow(context, folder)
        tidy(config.runs, config.keep)
        say(verdict(request.trigger, record))
    if record.hint:
        say(f"  hint: {record.hint}")
    report = folder.root / "report" / "index.html"
    say(
        f"  everything about it: {folder.root}" + (f"\n  report: {shown_at(config, report)}" if report.exists() else "")
    )
    return folder, record, record.exit_code or _of_mail(folder)


def _of_mail(folder: RunFolder) -> int:
    """0 when the mail was written, also when it still waits for its server."""
    notified = folder.record("notify")
    if notified and notified.final:
        return 0
    say("  nobody was mailed: the same command writes the mail, once what is said above of notify is mended")
    return notified.exit_code if notified else TryAgain.exit_code


def send_waiting(config: Config) -> None:
    """Send mails and records that an earlier run could not send; what prevents it was shown when they were written."""
    if config.tracking.mlflow or config.tracking.openlineage:
        from pipelines.exports import tracking

        for problem in tracking.send_waiting(config):
            say(f"  not recorded: {problem}")
    outbox = config.own_folder / "outbox"
    if config.mail.host and any((outbox / "pending").glob("*.eml")):
        from pipelines.mail.outbox import (
            deliver,  # with smtplib and TLS, which take longer to load than a run that has ended
        )

        sent = deliver(outbox, config.mail, secret("SMTP_PASSWORD")).sent
        if sent:
            say(f"{len(sent)} mails that waited were sent")


def verdict(trigger: Trigger, record: StepRecord) -> str:
    """How the run ended, in one line."""
    words = {"done": "ACCEPTED", "enough": "NOTHING TO DO", "rejected": "REJECTED", "failed": "FAILED"}[record.outcome]
    return f"{words}: push to {trigger}, {record.step}: {record.note}"


def say(text: str) -> None:
    """A line for the person who waits; a closed pipe (the pusher went away) does not stop us."""
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        sys.stderr = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115  (for the rest of this process)
