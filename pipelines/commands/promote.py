"""`trainyard promote MODEL VERSION --approval TOKEN`: what the mail's command does: an approved version goes live."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import TextIO

from pipelines.config import Config
from pipelines.config_file import secret
from pipelines.golive import GoLive, open_golive
from pipelines.promotion import compared_with_another, promote, serve_job
from registry import codec
from registry.errors import ConfigError
from registry.nouns import Release
from registry.stores import open_store
from serving.job import ServeJob

TOKEN = "TRAINYARD_APPROVAL"  # noqa: S105  (the name of a variable)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", metavar="MODEL", help="as in trainyard.toml")
    parser.add_argument("version", metavar="VERSION", type=int, help="the candidate's number")
    parser.add_argument(
        "--approval",
        metavar="TOKEN",
        default="",
        help=f"the token from the mail; - reads it from standard input; default: the environment's {TOKEN}, "
        f"or the file that {TOKEN}_FILE names",
    )
    add_who(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Print the release and where it answers."""
    check_model(args.model, config)
    token = read_token(args.approval, os.environ, sys.stdin)
    store = open_store(config.registry.url)
    release = promote(store, config, args.model, args.version, token, args.by or who())
    tell_release(release, config, as_json=args.json)
    if said := compared_with_another(store, release):
        print(f"  mind           {said}", file=sys.stderr if args.json else sys.stdout)
    return 0


def read_token(given: str, environment: Mapping[str, str], stdin: TextIO) -> str:
    """The approval token from flag, standard input or environment; raises ConfigError when there is none."""
    token = stdin.readline(4096) if given == "-" else given or secret("APPROVAL", environment)
    if not token.strip():
        raise ConfigError(
            "no approval token is given", hint=f"copy the command from the mail, or set {TOKEN}, or use --approval -"
        )
    return token.strip()


def check_model(model: str, config: Config) -> None:
    """The settings, the registry and the API are about one model; raises ConfigError for another."""
    if model != config.model:
        raise ConfigError(
            f"{config.file or 'trainyard.toml'} is about model {config.model!r}, not {model!r}",
            hint="name the trainyard.toml of that model with --config",
        )


def add_who(parser: argparse.ArgumentParser) -> None:
    """`--by`, for the record."""
    parser.add_argument("--by", metavar="NAME", default="", help="who decided, for the record; default: you")


def who() -> str:
    """Who runs this: git's `user.email`, else user@machine."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no git here: the user's name will do
        done = subprocess.run(
            ["git", "config", "user.email"], capture_output=True, text=True, check=False, errors="replace", timeout=10
        )
        if email := done.stdout.strip():
            return email
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}@{socket.gethostname()}"


def try_line(url: str) -> str:
    """A line for a shell that asks the API for a prediction, whatever the model."""
    return f"curl -s {url}/example | curl -s --data-binary @- {url}/predict"


def warn_of_settings(job: ServeJob, api: GoLive) -> None:
    """Say on stderr that the running API does not have the settings in `job`: it reads them at its start."""
    if others := api.changed(job):
        print(f"the API runs with other settings ({'; '.join(others.values())}): {api.remedy}", file=sys.stderr)


def tell_release(release: Release, config: Config, *, as_json: bool) -> None:
    """Print what answers now, where, and how to try it."""
    api = open_golive(config)
    warn_of_settings(serve_job(config), api)
    url = api.running() or ""
    if as_json:
        print(json.dumps({**json.loads(codec.to_json(release)), "url": url}, ensure_ascii=False))
        return
    print(
        f"{release.model} version {release.version} is live: release {release.number}, by {release.by}, {release.reason}"
    )
    print(f"  it answers at  {url}/")
    print(f"  try it         {try_line(url)}")
