"""`trainyard token make|list|revoke`: who may ask the prediction API, with `[serving] auth = "tokens"`."""

from __future__ import annotations

import argparse
import json
import sys

from pipelines.config.schema import Config
from pipelines.deploy.serve_job import token_file
from registry.errors import ConfigError
from registry.records import utc_now
from serving.access import tokens


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="make a token, and print it this once: it is kept nowhere")
    make.add_argument("name", metavar="NAME", help="who gets it, for the list and for the API's log")
    make.add_argument(
        "--role",
        metavar="ROLE[,ROLE]",
        default="predict",
        help=f"what it allows: {', '.join(tokens.ROLES)}; default: predict",
    )
    make.add_argument("--days", type=float, default=0.0, help="until it expires; default: never")
    actions.add_parser("list", help="names, roles and dates; never the tokens")
    revoke = actions.add_parser("revoke", help="the tokens of NAME do not hold any more, a second later")
    revoke.add_argument("name", metavar="NAME")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print the new token alone, the list, or what was revoked."""
    path = token_file(config)
    if args.action == "make":
        if not 0 <= args.days <= 36_500:
            raise ConfigError(f"--days: {args.days:g} is not possible", hint="more than 0; without it never expires")
        roles = [each.strip() for each in args.role.split(",") if each.strip()]
        if not roles:
            raise ConfigError("--role: none is given", hint=f"one of {', '.join(tokens.ROLES)}, or several")
        token = tokens.make(path, args.name, roles, args.days)
        print(json.dumps({"name": args.name, "roles": roles, "token": token}) if args.json else token)
        _note(config)
        return 0
    if args.action == "revoke":
        count = tokens.revoke(path, args.name)
        if not count:
            raise ConfigError(f"{args.name} has no token", hint="`trainyard token list` shows who has")
        said = f"{args.name}: {count} {'token' if count == 1 else 'tokens'} revoked; a running API follows within a second or two"
        print(json.dumps({"name": args.name, "revoked": count}) if args.json else said)
        return 0
    known = tokens.read(path).tokens
    if args.json:
        listed = [
            {"name": each.name, "roles": each.roles, "created": each.created, "expires": each.expires} for each in known
        ]
        print(json.dumps(listed))
        return 0
    for each in known:
        ends = f"expires {each.expires}" if each.expires else "does not expire"
        ends = "expired" if each.expires and each.expires <= utc_now() else ends
        print(f"{each.name}  {', '.join(each.roles)}  made {each.created}  {ends}")
    if not known:
        print("there are no tokens")
    _note(config)
    return 0


def _note(config: Config) -> None:
    if config.serving.auth != "tokens":
        print('note: the API asks for tokens only with [serving] auth = "tokens"', file=sys.stderr)
