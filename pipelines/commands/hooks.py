"""`trainyard hooks install`: a post-receive hook in each local bare repository, so that `git push` starts its pipeline.

With --jenkins the hook runs nothing itself: it notifies Jenkins, which polls the repository and starts its job.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.repositories import git
from registry.errors import ConfigError
from registry.files import write_whole

NAMES = ("code", "dataset", "tests")
MARK = "# installed by `trainyard hooks install`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Action and repositories."""
    parser.add_argument("action", choices=("install", "remove"))
    parser.add_argument(
        "repository",
        nargs="*",
        metavar="code|dataset|tests[=PATH]",
        help="default: all three. PATH: its path on this machine, when [repositories] has its URL",
    )
    parser.add_argument(
        "--jenkins",
        nargs="*",  # repositories after the option belong to it, or argparse would refuse them
        metavar="code|dataset|tests[=PATH]",
        help="notify Jenkins of a push, instead of running the pipeline",
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Install or remove the hooks; raises ConfigError for a hook that Trainyard has not written."""
    hooks = {name: _hooks_folder(name, path) / "post-receive" for name, path in _paths(args, config).items()}
    for name, hook in hooks.items():
        if hook.exists() and MARK not in hook.read_text(encoding="utf-8", errors="replace"):
            call = (
                "the script that would be installed otherwise" if args.jenkins is not None else _command(name, config)
            )
            raise ConfigError(
                f"{hook} was not written by Trainyard",
                hint=f"keep it, and call from it: {call}  (which reads `old new ref` lines on stdin)",
            )
    if args.action == "remove":
        _remove(hooks)
    else:
        _install(hooks, config, jenkins=args.jenkins is not None)
    if args.json:
        print(json.dumps({name: str(hook) for name, hook in hooks.items()}))
    else:
        for name, hook in hooks.items():
            print(f"{name}: {hook} {'removed' if args.action == 'remove' else 'installed'}")
    return 0


def _paths(args: argparse.Namespace, config: Config) -> dict[str, str]:
    """Each chosen repository → its path on this machine."""
    paths = {}
    for each in [*args.repository, *(args.jenkins or ())] or NAMES:
        name, _, path = each.partition("=")
        if name not in NAMES:
            raise ConfigError(
                f"hooks: unknown repository {each!r}", hint=f"{', '.join(NAMES)}, or NAME=PATH with one of them"
            )
        paths[name] = path or getattr(config.repositories, name)
    return paths


def _install(hooks: dict[str, Path], config: Config, *, jenkins: bool) -> None:
    if not jenkins:
        scripts = {name: _script(name, config) for name in hooks}
    else:
        from pipelines.jenkins_server import push_hook

        token = push_hook.notify_token()
        scripts = {name: push_hook.script(config, name, MARK) for name in hooks}
        for hook in hooks.values():
            hook.parent.mkdir(exist_ok=True)
            push_hook.write_token(hook.parent, token)
    for name, hook in hooks.items():
        write_whole(hook, scripts[name].encode())
        hook.chmod(0o755)


def _remove(hooks: dict[str, Path]) -> None:
    from pipelines.jenkins_server.push_hook import TOKEN_FILE

    for hook in hooks.values():
        hook.unlink(missing_ok=True)
        (hook.parent / TOKEN_FILE).unlink(missing_ok=True)


def _hooks_folder(name: str, path: str) -> Path:
    folder = Path(path)
    for candidate in (folder, folder / ".git"):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            hooks = git.hooks_folder(candidate)
            if hooks.is_relative_to(os.path.abspath(candidate)):
                return hooks
            raise ConfigError(
                f"[repositories] {name}: core.hooksPath has git look for the hooks of {path} in {hooks}, outside of it",
                hint=f"git -C {shlex.quote(str(candidate.absolute()))} config core.hooksPath hooks",
            )
    raise ConfigError(
        f"[repositories] {name}: {path} is not a git repository on this machine",
        hint=f"create one with `git init --bare`, give its path with `{name}=PATH`, or use `trainyard watch` for a remote where no "
        "hook can be installed",
    )


def _command(name: str, config: Config) -> str:
    # the interpreter by its full path: a hook's PATH is the git server's
    return shlex.join([sys.executable, "-P", "-m", "pipelines", "hook", name, "--config", config.file])


def _script(name: str, config: Config) -> str:
    return f"""#!/bin/sh
{MARK}
# A push to this repository starts the pipeline for {name}. The push itself has succeeded by now, whatever happens here.
exec {_command(name, config)}
"""
