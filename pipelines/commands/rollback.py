"""`trainyard rollback MODEL [--to N]`: release an earlier version again. Nothing is trained."""

from __future__ import annotations

import argparse

from pipelines.commands.promote import add_here, add_over, add_who, check_model, placed, print_release, track, who
from pipelines.config.schema import Config
from pipelines.promotion import status
from pipelines.promotion.rollback import rollback
from pipelines.trust import open_registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", metavar="MODEL", help="as in trainyard.toml")
    parser.add_argument(
        "--to",
        metavar="N",
        type=int,
        help="a version that was live before; default: the one before the current. Name it where the command may be "
        "repeated, in a script or after an interrupt: without it each run goes back one step further",
    )
    parser.add_argument("--reason", default="", help="why, for the record")
    add_over(parser)
    add_who(parser)
    add_here(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Roll back; a CI server's build gets to know how it has ended."""
    return status.shown(args.build, config, "rollback", args.to, lambda: _rollback(args, config))


def _rollback(args: argparse.Namespace, config: Config) -> int:
    """Print the release and where it answers."""
    check_model(args.model, config)
    config = placed(args, config)
    if config.serving.deploy == "jenkins":
        from pipelines.jenkins_server import promotion_job

        promotion_job.check_by(args.by)
        return promotion_job.command(args, config, promotion_job.rollback(config, args.to, args.reason))
    store = open_registry(config)
    release = rollback(store, config, args.model, args.to, args.by or who(), args.reason, over=args.over)
    print_release(release, config, as_json=args.json)
    track(store, config)
    return 0
