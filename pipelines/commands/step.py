"""`trainyard step NAME --run DIR`: one step of a run, in a folder that the caller chose. This is what a Jenkins stage calls."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines import flow
from pipelines.config import Config
from pipelines.context import Context
from pipelines.progress import open_progress
from pipelines.runs import RunFolder
from pipelines.steps.resolve import Request, resolve
from registry import codec
from registry.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("name", choices=flow.STEPS, help="the step")
    parser.add_argument("--run", required=True, metavar="DIR", type=Path, help="the run's folder; `resolve` makes it")
    parser.add_argument("--trigger", choices=tuple(flow.FLOWS), help="for resolve: which repository was pushed to")
    parser.add_argument("--commit", default="", help="for resolve: the pushed commit")
    parser.add_argument("--force", action="store_true", help="for resolve: run although nothing is new")
    parser.add_argument("--reason", default="", help="for resolve: why, for the mail and the record")


def main(args: argparse.Namespace, config: Config) -> int:
    """Perform the step; raises what the step raises, so the exit code is the step's."""
    context = Context(config, open_progress())
    if args.name == "resolve":
        if not args.trigger:
            raise ConfigError("step resolve needs --trigger code, dataset or tests")
        commits = {args.trigger: args.commit} if args.commit else {}
        folder = resolve(context, Request(args.trigger, commits, args.force, args.reason), args.run)
        record = folder.record("resolve")
    else:
        folder = RunFolder(args.run)
        assert folder.run  # raises for a folder that holds none, before anything is written there
        with folder.locked():
            context.progress.start(f"run {folder.run.id}", [args.name])
            try:
                record = flow.perform(context, folder, args.name)
            finally:
                context.progress.stop()
    if args.json and record:
        print(json.dumps({"run": folder.run.id, **json.loads(codec.to_json(record))}))
    return record.exit_code if record else 0
