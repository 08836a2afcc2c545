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
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pipelines.commands.of_models import attempt, worst
from pipelines.commands.run import run_pipeline, say
from pipelines.config.load import find_config, load_config, mistyped
from pipelines.config.models import model_files
from pipelines.config.schema import Config
from pipelines.context import clones
from pipelines.repositories import hook_call
from pipelines.repositories.folders import is_touched
from pipelines.steps.resolve import Request
from registry.errors import ConfigError, PipelineError
from registry.records import Trigger

Pushed = Mapping[str, tuple[str, str]]
"""Branch → its commits before and after the push."""


NEEDS_CONFIG = False  # what is wrong in the file of one model prevents no other's run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the hook passes."""
    parser.add_argument(
        "trigger", nargs="+", metavar="[MODEL:]code|dataset|tests", help="what the repository is, and of which model"
    )


def main(args: argparse.Namespace) -> int:
    """Run for an update of a watched branch, of one model after the other; the exit code is the run's (git only shows it)."""
    pushed = _pushed(sys.stdin)
    roles: dict[str, list[Trigger]] = {}
    for each in args.trigger:
        model, role = hook_call.parted(each)
        roles.setdefault(model, []).append(_trigger(role))
    found = find_config(args.config, os.environ)
    for warning in mistyped(os.environ):
        say(f"trainyard: {warning}")
    if list(roles) == [""]:
        return _run(load_config(found, os.environ, args.set), roles[""], pushed)
    files = model_files(found)
    codes = []
    for model, triggers in roles.items():
        if model in files:
            codes.append(attempt(model, partial(_run_of, files[model], args.set, triggers, pushed)))
        else:
            say(
                f"{model}: no run, as {found.parent} has no such model now; `trainyard hooks install` writes the hook anew"
            )
    return worst(codes)


def _run_of(file: Path, overrides: Sequence[str], triggers: Sequence[Trigger], pushed: Pushed) -> int:
    return _run(load_config(file, os.environ, overrides), triggers, pushed)


def _trigger(role: str) -> Trigger:
    for each in hook_call.ROLES:
        if each == role:
            return each
    raise ConfigError(
        f"hook: {role!r} is not one of {', '.join(hook_call.ROLES)}", hint="`trainyard hooks install` writes the hook"
    )


def _pushed(lines: Iterable[str]) -> Pushed:
    updates = [line.split() for line in lines if line.strip()]
    return {ref.removeprefix("refs/heads/"): (old, new) for old, new, ref in updates if set(new) != {"0"}}


def _run(config: Config, triggers: Sequence[Trigger], pushed: Pushed) -> int:
    """A repository with several roles starts one run, of the first of them whose folder was touched, which takes the commit for all."""
    watched = {name: config.repositories.branch_of(name) for name in triggers}
    commits = {name: pushed[branch] for name, branch in watched.items() if branch in pushed}
    if not commits:
        return 0
    with contextlib.suppress(PermissionError):  # already the leader of a session
        os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir(Path(config.file).parent)  # not inside the bare repository
    touched: list[Trigger] = [name for name in commits if _is_touched(config, name, commits[name])]
    of_model = f" of {config.model}" if config.shared else ""
    if not touched:
        folders = ", ".join(config.repositories.folder_of(name) for name in commits)
        say(f"nothing in {folders} was changed: Trainyard runs no pipeline{of_model}")
        return 0
    trigger: Trigger = touched[0]
    names = [name for name in commits if name != trigger]
    others = f", with this commit as {' and '.join(names)}" if names else ""
    say(f"Trainyard runs the pipeline for {trigger}{of_model}{others}; it continues if you disconnect")
    commits_of: dict[str, str] = {name: new for name, (_old, new) in commits.items()}
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
