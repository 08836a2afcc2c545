"""`trainyard jenkins apply|trigger|status|export`: this model's jobs on the Jenkins of `[jenkins]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from pipelines.commands.of_models import for_each, must_name
from pipelines.config.clashes import folder_clashes
from pipelines.config.schema import Config
from pipelines.text.clean import clean
from registry.errors import ConfigError

ACTIONS = {
    "apply": "create or update folder, jobs and triggers",
    "trigger": "start a job",
    "status": "the last builds",
    "export": "the folder and the jobs as files, for a controller that is configured as code",
}
VERBS = {"created": "would be created", "changed": "would be changed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the four actions."""
    parser.add_argument("action", choices=ACTIONS, help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()))
    parser.add_argument(
        "pipeline", nargs="?", choices=("code", "dataset", "tests"), help="trigger: which job; no default"
    )
    parser.add_argument("--dry-run", action="store_true", help="apply: only show what would be changed")
    parser.add_argument(
        "--no-build", action="store_true", help="apply: do not start the short build that registers a job's triggers"
    )
    parser.add_argument(
        "--wait", action="store_true", help="trigger: show the console, exit with the pipeline's exit code"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=720.0,
        metavar="MINUTES",
        help="trigger --wait: how long (default 720); the build continues after that",
    )
    parser.add_argument("--force", action="store_true", help="trigger: run although nothing is new")
    parser.add_argument("--reason", default="", metavar="TEXT", help="trigger: why, for the run's record")
    parser.add_argument("--commit", default="", metavar="SHA", help="trigger: this commit instead of the newest")
    parser.add_argument("--to", metavar="FOLDER", help="export: the target folder")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="status: builds per job (default 3)")


def main(args: argparse.Namespace, config: Config) -> int:
    """Run the action, and import only that."""
    if args.action == "trigger":
        from pipelines.jenkins_server import trigger

        return trigger.command(args, config)
    if args.pipeline:
        raise ConfigError(f"jenkins {args.action} {args.pipeline}: {args.action} applies to all jobs of the model")
    return {"apply": _apply, "status": _status, "export": _export}[args.action](args, config)


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """The folder of one model after the other; no two may have the same."""
    if args.action == "trigger":
        must_name(configs)
    if found := [each for pair in combinations(configs, 2) for each in folder_clashes(*pair)]:
        raise ConfigError(
            "; ".join(dict.fromkeys(found)),
            hint="[jenkins] folder in the shared trainyard.toml holds a folder for each; in that of a model it is the model's own",
        )
    return for_each(main, args, configs)


def _apply(args: argparse.Namespace, config: Config) -> int:
    from pipelines.jenkins_server.apply import apply
    from pipelines.jenkins_server.client import open_jenkins
    from pipelines.trust import open_unsigned

    if not args.dry_run and config.registry.url.startswith("s3://"):
        open_unsigned(config).probe()  # no job is made for a store that would lose a release
    done = apply(config, open_jenkins(config), dry_run=args.dry_run, build=not args.no_build, say=_say)
    if args.json:
        print(json.dumps({"dry_run": args.dry_run, **dataclasses.asdict(done)}, indent=1))
        return 0
    width = max(len(each.name) for each in done.items)
    for each in done.items:
        verb = VERBS.get(each.action, each.action) if args.dry_run else each.action
        print(f"{each.kind:<6} {each.name:<{width}}  {verb}{' unchanged' * (each.action == 'used')}")
        for what in each.differences if each.action == "changed" else ():
            print(f"         {what.what}: {one_line(what.was) or 'nothing'} -> {one_line(what.wanted) or 'nothing'}")
        if each.build:
            print(
                f"         {'would start' if args.dry_run else 'started'} a first build, which registers its triggers"
            )
        if each.note:
            print(f"         {each.note}")
    for note in done.notes:
        print(note)
    return 0


def _export(args: argparse.Namespace, config: Config) -> int:
    from pipelines.jenkins_server.export import export

    if not args.to:
        raise ConfigError("jenkins export: --to is missing", hint="trainyard jenkins export --to FOLDER")
    written = [str(path) for path in export(config, Path(args.to))]
    print(json.dumps(written, indent=1) if args.json else "\n".join(written))
    return 0


def _status(args: argparse.Namespace, config: Config) -> int:
    from pipelines.jenkins_server.client import open_jenkins
    from pipelines.jenkins_server.status import status
    from pipelines.jenkins_server.terminal import without_head

    jobs = status(config, open_jenkins(config), args.count)
    if args.json:
        print(json.dumps([dataclasses.asdict(each) for each in jobs], indent=1))
        return 0
    rows: list[tuple[str, ...]] = [("job", "build", "result", "started (UTC)", "took", "description")]
    for job in jobs:
        state = "disabled" if job.disabled else "waits in the queue" if job.queued else ""
        if state or not job.builds:
            rows.append((job.job, "", state or "no build yet", "", "", ""))
        rows += [
            (job.job, each.name, each.result, _minute(each.at), _took(each.seconds), without_head(each.description))
            for each in job.builds
        ]
    rows = [tuple(one_line(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)] + [row[-1]]).rstrip())
    return 0


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")


def one_line(text: str) -> str:
    """A text from Jenkins as one line that is safe in a terminal."""
    return clean(text, 100)


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"


def _say(line: str) -> None:
    print(clean(line, 300), file=sys.stderr, flush=True)
