"""`trainyard hooks install`: a post-receive hook in each local bare repository, so that `git push` starts its pipeline."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from pipelines import git
from pipelines.config import Config
from registry.errors import ConfigError
from registry.files import write_whole

NAMES = ("code", "dataset", "tests")
MARK = "# installed by `trainyard hooks install`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("action", choices=("install", "remove"))
    parser.add_argument(
        "repository", nargs="*", choices=[*NAMES, []], metavar="code|dataset|tests", help="default: all three"
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Install or remove the hooks; a hook that is not ours is left alone and told."""
    wanted = args.repository or list(NAMES)
    hooks = {name: _hooks_folder(name, getattr(config.repositories, name)) / "post-receive" for name in wanted}
    for name, hook in hooks.items():
        if hook.exists() and MARK not in hook.read_text(encoding="utf-8", errors="replace"):
            raise ConfigError(
                f"{hook} is not Trainyard's",
                hint=f"keep it, and let it call: {_command(name, config)}  (it reads `old new ref` lines on stdin)",
            )
    for name, hook in hooks.items():
        if args.action == "remove":
            hook.unlink(missing_ok=True)
        else:
            write_whole(hook, _script(name, config).encode())
            hook.chmod(0o755)
    if args.json:
        print(json.dumps({name: str(hook) for name, hook in hooks.items()}))
    else:
        for name, hook in hooks.items():
            print(f"{name}: {hook} {'removed' if args.action == 'remove' else 'installed'}")
    return 0


def _hooks_folder(name: str, place: str) -> Path:
    folder = Path(place)
    for candidate in (folder, folder / ".git"):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            hooks = git.hooks_folder(candidate)
            if hooks.is_relative_to(os.path.abspath(candidate)):
                return hooks
            raise ConfigError(
                f"[repositories] {name}: core.hooksPath has git look for the hooks of {place} in {hooks}, outside of it",
                hint=f"git -C {shlex.quote(str(candidate.absolute()))} config core.hooksPath hooks",
            )
    raise ConfigError(
        f"[repositories] {name}: {place} is not a git repository on this machine",
        hint="make one with `git init --bare`, or use `trainyard watch` for a remote where no hook can be installed",
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
