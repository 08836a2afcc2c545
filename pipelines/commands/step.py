"""`trainyard step NAME`: one step of a run. This is what a Jenkins stage calls."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pipelines import execute, flows
from pipelines.build_status import BuildFolder, check_home
from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.old_runs import tidy
from pipelines.progress.view import open_progress
from pipelines.runs import RunFolder, StepRecord
from registry import codec
from registry.errors import ConfigError, PipelineError

PATIENCE = 30.0  # seconds for a controller that was stopped to end its worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("name", choices=flows.STEPS, help="the step")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--run", metavar="DIR", type=Path, help="the run's folder; `resolve` makes it")
    where.add_argument(
        "--build", metavar="DIR", type=Path, help="a CI server's folder for this build; it leads to the run"
    )
    parser.add_argument("--trigger", choices=tuple(flows.FLOWS), help="for resolve: which repository was pushed to")
    parser.add_argument("--commit", default="", help="for resolve: the pushed commit")
    parser.add_argument("--force", action="store_true", help="for resolve: run although nothing is new")
    parser.add_argument("--reason", default="", help="for resolve: why, for the mail and the record")
    parser.add_argument(
        "--started-by", metavar="WHO", default="", help="for resolve: who or what started it; default: a push"
    )
    parser.add_argument(
        "--occasion",
        metavar="WHAT",
        default="",
        help="for resolve: what there is one run for, whatever has been pushed since; asked for again, it resumes",
    )
    parser.add_argument("--stopped", metavar="WHY", default="", help="for notify: why the run was stopped from outside")


def main(args: argparse.Namespace, config: Config) -> int:
    """Perform the step; raises what the step raises, so the exit code is the step's."""
    context = Context(config, open_progress())
    if args.build:
        check_home(config)
    build = BuildFolder(args.build, config.runs) if args.build else None
    if args.name == "resolve":
        folder = _resolve(context, args, build)
        record = (folder.decided() if build else None) or folder.record("resolve")
    else:
        folder = build.run if build else RunFolder(args.run)
        assert folder.run  # raises for a folder that holds none, before anything is written there
        record = _perform(context, folder, args, build)
    if args.json and record:
        print(json.dumps({"run": folder.run.id, **json.loads(codec.to_json(record))}))
    return record.exit_code if record else 0


def _resolve(context: Context, args: argparse.Namespace, build: BuildFolder | None) -> RunFolder:
    from pipelines.steps.resolve import Request, resolve  # the other steps do not need it

    if not args.trigger:
        raise ConfigError("step resolve needs --trigger code, dataset or tests")
    commits = {args.trigger: args.commit} if args.commit else {}
    if build:
        build.clear()  # first: a build that fails here must not show the one before
    folder = resolve(
        context, Request(args.trigger, commits, args.force, args.reason, args.started_by, args.occasion), args.run
    )
    if build:
        build.start(folder)
        _write_status(context, build)
        if ended := folder.decided():
            print(f"nothing new: run {folder.run.id} has ended ({ended.note})", file=sys.stderr)
    return folder


def _perform(
    context: Context, folder: RunFolder, args: argparse.Namespace, build: BuildFolder | None
) -> StepRecord | None:
    try:
        ends = args.stopped or (build and args.name == "notify")
        with folder.locked(PATIENCE if ends else 0.0):
            if ends:
                execute.record_stopped(folder, args.stopped)
            context.progress.start(f"run {folder.run.id}", [args.name])
            try:
                return execute.run_step(context, folder, args.name)
            finally:
                context.progress.stop()
    finally:
        if build:
            _write_status(context, build, report=args.name == "notify")
        if args.name == "notify":
            tidy(context.config.runs, context.config.keep)


def _write_status(context: Context, build: BuildFolder, *, report: bool = False) -> None:
    """What cannot be written for the server changes no verdict."""
    try:
        build.write(context)
        if report:
            build.take_report()
    except (PipelineError, OSError) as error:
        print(f"{build.root}: {error}", file=sys.stderr)
