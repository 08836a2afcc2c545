"""`trainyard token make|list|revoke`: who may ask the prediction API, with `[serving] auth = "tokens"`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pipelines.commands.promote import add_here, placed
from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import serve_job, token_file
from registry.errors import ConfigError, PipelineError
from registry.records import utc_now
from serving.access import tokens


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("make", "list", "revoke"),
        help="make a token, and print it this once: it is kept nowhere; names, roles and dates, never the tokens; "
        "the tokens of NAME do not hold any more",
    )
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="whose token: for the list and the API's log"
    )
    parser.add_argument(
        "--role",
        metavar="ROLE[,ROLE]",
        default="predict",
        help=f"make: what it allows: {', '.join(tokens.ROLES)}; default: predict",
    )
    add_here(parser)
    parser.add_argument("--days", type=float, default=0.0, help="make: until it expires; default: never")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print the new token alone, the list, or what was revoked."""
    config = placed(args, config)
    if config.serving.deploy == "jenkins":
        raise ConfigError(
            '[serving] deploy = "jenkins": the API, and the file of its tokens, are where Jenkins\' promotion job starts it',
            hint=f"on that machine `trainyard token {args.action} {args.name} --here`",
        )
    path = token_file(config)
    if bool(args.name) == (args.action == "list"):
        raise ConfigError(
            "`token list` takes no name" if args.name else f"`token {args.action}`: no name is given",
            hint="trainyard token make|revoke NAME; trainyard token list",
        )
    if args.action == "make":
        _make(args, config, path)
    elif args.action == "revoke":
        _revoke(args, config, path)
    else:
        _list(args, config, path)
    return 0


def _make(args: argparse.Namespace, config: Config, path: Path) -> None:
    if not 0 <= args.days <= 36_500:
        raise ConfigError(f"--days: {args.days:g} is not possible", hint="more than 0; without it never expires")
    roles = [each.strip() for each in args.role.split(",") if each.strip()]
    if not roles:
        raise ConfigError("--role: none is given", hint=f"one of {', '.join(tokens.ROLES)}, or several")
    token = tokens.make(path, args.name, roles, args.days)
    print(json.dumps({"name": args.name, "roles": roles, "token": token}) if args.json else token, flush=True)
    _pass_on(config)
    _note(config)


def _revoke(args: argparse.Namespace, config: Config, path: Path) -> None:
    count = tokens.revoke(path, args.name)
    if not count:
        raise ConfigError(f"{args.name} has no token", hint="`trainyard token list` shows who has")
    _pass_on(config)
    said = f"{args.name}: {count} {'token' if count == 1 else 'tokens'} revoked; a running API follows within a second or two"
    print(json.dumps({"name": args.name, "revoked": count}) if args.json else said)


def _pass_on(config: Config) -> None:
    """An API that has a copy of the file gets the new one."""
    is_in_folder = config.registry.url.startswith("file://") and not config.serving.registry_volume
    if config.serving.deploy != "docker" or is_in_folder:
        return
    try:
        open_deployment(config).refresh(serve_job(config))
    except PipelineError as error:
        raise type(error)(
            f"the file of tokens is changed, but the API still has the old one: {error}",
            hint=f"`trainyard serve {config.model} --background` gives it the new one",
        ) from error


def _list(args: argparse.Namespace, config: Config, path: Path) -> None:
    known = tokens.read(path).tokens
    if args.json:
        listed = [
            {"name": each.name, "roles": each.roles, "created": each.created, "expires": each.expires} for each in known
        ]
        print(json.dumps(listed))
        return
    for each in known:
        ends = f"expires {each.expires}" if each.expires else "does not expire"
        ends = "expired" if each.expires and each.expires <= utc_now() else ends
        print(f"{each.name}  {', '.join(each.roles)}  made {each.created}  {ends}")
    if not known:
        print("there are no tokens")
    _note(config)


def _note(config: Config) -> None:
    if config.serving.auth != "tokens":
        print('note: the API asks for tokens only with [serving] auth = "tokens"', file=sys.stderr)
