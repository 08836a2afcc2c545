"""`trainyard demote MODEL`: take a model out of production. Nothing is removed, and a rollback brings a version back."""

from __future__ import annotations

import argparse
import json

from pipelines.commands.promote import add_here, add_over, add_who, check_model, placed, track, who
from pipelines.config.schema import Config
from pipelines.promotion import status
from pipelines.promotion.demote import demote
from pipelines.trust import open_registry
from registry import codec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", metavar="MODEL", help="as in trainyard.toml")
    parser.add_argument("--reason", default="", help="why, for the record")
    add_over(parser)
    add_who(parser)
    add_here(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Demote it; a CI server's build gets to know how it has ended."""
    return status.shown(args.build, config, "demotion", None, lambda: _demote(args, config))


def _demote(args: argparse.Namespace, config: Config) -> int:
    """Print the release."""
    check_model(args.model, config)
    config = placed(args, config)
    store = open_registry(config)
    release = demote(store, config, args.by or who(), args.reason, args.over)
    if args.json:
        print(json.dumps(json.loads(codec.to_json(release)), ensure_ascii=False))
    else:
        print(f"nothing of {release.model} is live: release {release.number}, by {release.by}, {release.reason}")
        print(f"  to go back     trainyard rollback {release.model} --to VERSION")
    track(store, config)
    return 0
