"""`trainyard jenkins apply|trigger|status`: the jobs of this model on the Jenkins of `[jenkins]`."""

from __future__ import annotations

import argparse
from importlib import import_module

from pipelines.config import Config

ACTIONS = {
    "apply": "create or update folder, jobs and triggers",
    "trigger": "start a job",
    "status": "the last builds",
}
MODULES = {"apply": "apply", "trigger": "trigger", "status": "status"}
"""Each has `command(args, config) -> int`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("action", choices=ACTIONS, help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()))
    parser.add_argument(
        "pipeline", nargs="?", choices=("code", "dataset", "tests"), help="trigger: whose job; no default"
    )
    parser.add_argument("--dry-run", action="store_true", help="apply: only show what would be changed")
    parser.add_argument(
        "--no-build", action="store_true", help="apply: do not start the short build that registers a job's triggers"
    )
    parser.add_argument(
        "--wait", action="store_true", help="trigger: show the console, end with the pipeline's exit code"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=720.0,
        metavar="MINUTES",
        help="trigger --wait: how long (default 720); the build goes on without us",
    )
    parser.add_argument("--force", action="store_true", help="trigger: run although nothing is new")
    parser.add_argument("--reason", default="", metavar="TEXT", help="trigger: why, for the run's record")
    parser.add_argument("--commit", default="", metavar="SHA", help="trigger: this commit instead of the newest")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="status: builds per job (default 3)")


def main(args: argparse.Namespace, config: Config) -> int:
    """Do what was asked for; only that part is imported."""
    return int(import_module(f"pipelines.jenkins_server.{MODULES[args.action]}").command(args, config))
