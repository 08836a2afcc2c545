"""Following a build from a terminal: its console on stderr, its result in one line."""

from __future__ import annotations

import os
import sys

from pipelines.config.schema import Config
from pipelines.jenkins_server.builds import TRY_AGAIN, BuildFollower, FinishedBuild, Queued
from pipelines.jenkins_server.client import open_jenkins
from pipelines.signals import Terminated
from pipelines.text.clean import clean
from registry.records import SeenHead


def follow(config: Config, queued: Queued, seconds: float) -> FinishedBuild:
    """Follow the build, its console on stderr. An interrupt ends the waiting, not the build, and says so."""
    follower = BuildFollower(open_jenkins(config, patience=0.0), seconds, say)
    follower.where = queued.url
    try:
        say(f"Jenkins: {how(queued)} {queued.url}")
        return follower.follow(queued)
    except (KeyboardInterrupt, Terminated):
        say(f"no longer waiting; Jenkins continues the build: {follower.where}")
        raise


def how(queued: Queued) -> str:
    """`queued`, or `joined` for a build that waited already."""
    return "joined" if queued.joined else "queued"


def summary(build: FinishedBuild) -> str:
    """How a build has ended, in one line, and its page."""
    said = clean(without_head(build.description), 500)
    why = f": {said}" if said else ""
    again = "; the same command starts it again" if build.exit_code == TRY_AGAIN else ""
    return f"{build.result}: build {build.number}{why}{again}\n  {build.url}"


def without_head(description: str) -> str:
    """A build's description without the registry's head, which is for who keeps the build and not for who reads along."""
    return "\n".join(each for each in description.splitlines() if not each.startswith(f"{SeenHead.WORD}:"))


def say(line: str) -> None:
    """Write a line to stderr; a reader that has gone does not stop us."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
