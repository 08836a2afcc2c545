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
from pipelines.context import clones
from pipelines.repositories.folders import is_touched
from pipelines.steps.resolve import Request
from registry.errors import PipelineError
from registry.records import Trigger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the hook passes."""
    parser.add_argument("trigger", nargs="+", choices=("code", "dataset", "tests"), help="what the repository is")


def main(args: argparse.Namespace, config: Config) -> int:
    """Run for an update of a watched branch; the exit code is the run's (git only shows it).

    A repository with several roles starts one run, of the first of them whose folder was touched, which takes the commit for all.
    """
    updates = [line.split() for line in sys.stdin if line.strip()]
    pushed = {ref.removeprefix("refs/heads/"): (old, new) for old, new, ref in updates if set(new) != {"0"}}
    watched = {name: config.repositories.branch_of(name) for name in args.trigger}
    commits = {name: pushed[branch] for name, branch in watched.items() if branch in pushed}
    if not commits:
        return 0
    with contextlib.suppress(PermissionError):  # already the leader of a session
        os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir(Path(config.file).parent)  # not inside the bare repository
    touched: list[Trigger] = [name for name in commits if _is_touched(config, name, commits[name])]
    if not touched:
        folders = ", ".join(config.repositories.folder_of(name) for name in commits)
        say(f"nothing in {folders} was changed: Trainyard runs no pipeline")
        return 0
    trigger: Trigger = touched[0]
    names = [name for name in commits if name != trigger]
    others = f", with this commit as {' and '.join(names)}" if names else ""
    say(f"Trainyard runs the pipeline for {trigger}{others}; it continues if you disconnect")
    commits_of = {name: new for name, (_old, new) in commits.items()}
    _folder, _record, code = run_pipeline(config, Request(trigger, commits_of, reason="git push"))
    return code


def _is_touched(config: Config, name: str, commits: tuple[str, str]) -> bool:
    """Whether a push changed what the pipeline for `name` is about; where that cannot be found out it runs, and the run says why."""
    folder = config.repositories.folder_of(name)
    if not folder:
        return True
    try:
        return is_touched(clones(config), str(getattr(config.repositories, name)), name, folder, commits)
    except PipelineError:
        return True
