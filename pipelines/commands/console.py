"""`trainyard console`: web pages over everything, until Ctrl-C; `console users` says who has a password."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.config.schema import Config
from registry.errors import ConfigError

ACTIONS = ("add", "list", "remove", "passwd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("what", nargs="?", choices=("users",), help='users: of [console] sign_in = "password"')
    parser.add_argument(
        "action", nargs="?", choices=ACTIONS, help="what to do with them; passwords come from the terminal or stdin"
    )
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="which user")
    parser.add_argument("--email", default="", help="add: the address, by which roles and approvals may name the user")


def main(args: argparse.Namespace, config: Config) -> int:
    """Serve the pages; or change the local users."""
    return main_of_all(args, [config])


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """One console shows all models."""
    if args.what == "users":
        return _users(args, configs)
    from pipelines.console.app import create_console
    from pipelines.console.installation import Installation
    from pipelines.console.server import address, listen, serve

    installation = Installation(configs)
    create_console(installation)  # what is wrong is found before a process is started
    listener = listen(installation.settings)
    where = address(installation.settings, listener)
    print(json.dumps({"url": where}) if args.json else f"the console: {where}", flush=True)
    _note(installation.home, configs)
    serve(lambda: create_console(Installation(configs)), installation.settings, listener)
    return 0


def _users(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    from pipelines.console.installation import Installation
    from pipelines.console.services import by_command, sessions_of, users_of

    installation = Installation(configs)
    users = users_of(installation)
    if args.action is None or bool(args.name) == (args.action == "list"):
        raise ConfigError(
            "which user?", hint="trainyard console users add|remove|passwd NAME; trainyard console users list"
        )
    if args.action == "list":
        known = [{"name": each.name, "email": each.email, "made": each.made} for each in users.all()]
        print(json.dumps(known) if args.json else "\n".join(_line(each) for each in known) or "there are no users")
        return 0
    if args.action == "add":
        users.add(args.name, args.email, _password())
    elif args.action == "passwd":
        users.change_password(args.name, _password())
    else:
        users.remove(args.name)
    if args.action != "add":
        sessions_of(installation).end_all_of(args.name)
    by_command(installation, f"users {args.action}", args.name)
    done = {"add": "added", "passwd": "has a new password", "remove": "removed"}[args.action]
    print(json.dumps({"name": args.name, "done": args.action}) if args.json else f"{args.name}: {done}")
    if args.action == "add" and not any(_has_role(args, each) for each in configs):
        print(
            f'note: {args.name} sees nothing yet; in trainyard.toml: [console.roles], and "{args.name}" = "viewer"',
            file=sys.stderr,
        )
    return 0


def _line(user: dict[str, str]) -> str:
    return f"{user['name']}  {user['email'] or 'no address'}  since {user['made']}"


def _has_role(args: argparse.Namespace, config: Config) -> bool:
    known = {name.casefold() for name in config.console.roles}
    return bool(known & {args.name.casefold(), args.email.casefold(), "*"})


def _password() -> str:
    """From a prompt, twice; or one line of stdin. Never from the command line, which other users see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    found = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != found:
        raise ConfigError("the two passwords differ", hint="run it again")
    return found


def _note(home: Path, configs: Sequence[Config]) -> None:
    """What a new console lacks."""
    if not any(each.console.roles for each in configs):
        print('note: nobody has a role yet; in trainyard.toml: [console.roles], and "NAME" = "owner"', file=sys.stderr)
    if configs[0].console.sign_in == "password" and not (home / "users.json").exists():
        print("note: nobody has a password yet: `trainyard console users add NAME`", file=sys.stderr)
