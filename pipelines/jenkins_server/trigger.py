"""`trainyard jenkins trigger code|dataset|tests`: start a job of this model, and with --wait follow it to its end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from pipelines.config.schema import Config
from pipelines.jenkins_server.client import open_jenkins
from pipelines.jenkins_server.follow import AGAIN, Build, Follower, Queued, ask_for, path_of
from pipelines.signals import Terminated
from pipelines.text.clean import clean
from registry.errors import ConfigError

SHORTEST, LONGEST = 0.01, 60.0 * 24 * 30  # minutes


def command(args: argparse.Namespace, config: Config) -> int:
    """Print the queue item, or with --wait how the build has ended; its exit code is the pipeline's."""
    if not args.pipeline:
        raise ConfigError("jenkins trigger: which pipeline?", hint="code, dataset or tests")
    if not SHORTEST <= args.timeout <= LONGEST:
        raise ConfigError(f"--timeout: {args.timeout:g} minutes is not between {SHORTEST} and {LONGEST:g}")
    parameters = {"FORCE": "true"} if args.force else {}
    parameters |= {name: value for name, value in (("REASON", args.reason), ("COMMIT", args.commit)) if value}
    queued = ask_for(open_jenkins(config), path_of(config, args.pipeline), parameters)
    if not args.wait:
        _tell(args, asdict(queued), f"{_how(queued)} {queued.url}")
        return 0
    build = to_its_end(config, queued, args.timeout * 60)
    _tell(args, asdict(build), summary(build))
    return build.exit_code


def to_its_end(config: Config, queued: Queued, seconds: float) -> Build:
    """Follow the build, its console on stderr. An interrupt ends our waiting, and not the build; that is told."""
    follower = Follower(open_jenkins(config, patience=0.0), seconds, say)
    follower.where = queued.url
    try:
        say(f"Jenkins: {_how(queued)} {queued.url}")
        return follower.follow(queued)
    except (KeyboardInterrupt, Terminated):
        say(f"not waiting any more; Jenkins goes on with {follower.where}")
        raise


def _how(queued: Queued) -> str:
    return "joined" if queued.joined else "asked for"


def summary(build: Build) -> str:
    """How a build has ended, in one line."""
    why = f": {clean(build.description, 500)}" if build.description else ""
    again = "; the same command starts it again" if build.exit_code == AGAIN else ""
    return f"{build.result}: build {build.number}{why}{again}\n  {build.url}"


def say(line: str) -> None:
    """A line for the person who waits; who reads it no more does not stop us."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _tell(args: argparse.Namespace, facts: dict[str, object], text: str) -> None:
    sys.stdout.write(f"{json.dumps(facts, ensure_ascii=False) if args.json else text}\n")
