"""What a post-receive hook calls: reads `old new ref` lines on stdin and runs the pipeline for the watched branch.

The push has succeeded when this starts, and nothing here can undo it. The run continues when `git push` ends (Ctrl-C, a
lost connection): this process has a session of its own and ignores a closed pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

from pipelines.commands.run import run_pipeline, say
from pipelines.config.schema import Config
from pipelines.steps.resolve import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the hook passes."""
    parser.add_argument("trigger", nargs="+", choices=("code", "dataset", "tests"), help="what the repository is")


def main(args: argparse.Namespace, config: Config) -> int:
    """Run for each update of the watched branch; the exit code is the run's (git only shows it).

    A repository with several roles starts one run, of the first of them, which takes the commit for all.
    """
    watched = f"refs/heads/{config.repositories.branch}"
    updates = [line.split() for line in sys.stdin if line.strip()]
    commits = [new for _old, new, ref in updates if ref == watched and set(new) != {"0"}]
    if not commits:
        return 0
    with contextlib.suppress(PermissionError):  # already the leader of a session
        os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir(Path(config.file).parent)  # not inside the bare repository
    trigger = args.trigger[0]
    others = f", with this commit as {' and '.join(args.trigger[1:])}" if args.trigger[1:] else ""
    say(f"Trainyard runs the pipeline for {trigger}{others}; it continues if you disconnect")
    commits_of = dict.fromkeys(args.trigger, commits[-1])
    _folder, _record, code = run_pipeline(config, Request(trigger, commits_of, reason="git push"))
    return code
