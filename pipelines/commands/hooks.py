"""`trainyard hooks install`: a post-receive hook in each local bare repository, so that `git push` starts its pipeline.

With --jenkins the hook runs nothing itself: it notifies Jenkins, which polls the repository and starts its job.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
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
    hooks: dict[Path, list[str]] = {}
    for name, path in _paths(args, config).items():
        hooks.setdefault(_hooks_folder(name, path) / "post-receive", []).append(name)
    for hook, names in hooks.items():
        if hook.exists() and MARK not in hook.read_text(encoding="utf-8", errors="replace"):
            call = (
                "the script that would be installed otherwise" if args.jenkins is not None else _command(names, config)
            )
            raise ConfigError(
                f"{hook} was not written by Trainyard",
                hint=f"keep it, and call from it: {call}  (which reads `old new ref` lines on stdin)",
            )
    for hook, names in hooks.items():
        before = _roles(hook, config)
        names[:] = [each for each in NAMES if each in before or (args.action == "install" and each in names)] or names
    if args.action == "remove":
        _remove(hooks)
    else:
        _install(hooks, config, jenkins=args.jenkins is not None)
    if args.json:
        print(json.dumps({name: str(hook) for hook, names in hooks.items() for name in names}))
    else:
        for hook, names in hooks.items():
            print(f"{', '.join(names)}: {hook} {'removed' if args.action == 'remove' else 'installed'}")
    return 0


def _roles(hook: Path, config: Config) -> list[str]:
    """For what the hook there, of this config, runs the pipeline: a repository may be code, dataset and tests at once."""
    text = hook.read_text(encoding="utf-8", errors="replace") if hook.is_file() else ""
    if f" --config {shlex.quote(config.file)}\n" not in text:
        return []
    return text.partition(" pipelines hook ")[2].partition(" --config ")[0].split()


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


def _install(hooks: dict[Path, list[str]], config: Config, *, jenkins: bool) -> None:
    if not jenkins:
        scripts = {hook: _script(names, config) for hook, names in hooks.items()}
    else:
        from pipelines.jenkins_server import push_hook

        token = push_hook.notify_token()
        # one notice is enough for all jobs that poll the repository
        scripts = {hook: push_hook.script(config, names[0], MARK) for hook, names in hooks.items()}
        for hook in hooks:
            hook.parent.mkdir(exist_ok=True)
            push_hook.write_token(hook.parent, token)
    for hook, script in scripts.items():
        write_whole(hook, script.encode())
        hook.chmod(0o755)


def _remove(hooks: Iterable[Path]) -> None:
    from pipelines.jenkins_server.push_hook import TOKEN_FILE

    for hook in hooks:
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


def _command(names: Sequence[str], config: Config) -> str:
    # the interpreter by its full path: a hook's PATH is the git server's
    return shlex.join([sys.executable, "-P", "-m", "pipelines", "hook", *names, "--config", config.file])


def _script(names: Sequence[str], config: Config) -> str:
    python, file, chosen = shlex.quote(sys.executable), shlex.quote(config.file), " ".join(names)
    return f"""#!/bin/sh
{MARK}
# A push to this repository starts the pipeline for {chosen}. The push itself has succeeded by now, whatever happens here.
for needed in {python} {file}; do
  [ -e "$needed" ] && continue
  hook=$(cd "$(dirname "$0")" && pwd)/post-receive
  echo "Trainyard: this push has started no run: $needed is gone, which its hook names ($hook)" >&2
  echo "  hint: in the folder that has trainyard.toml now: trainyard hooks install {chosen}" >&2
  exit 0
done
exec {_command(names, config)}
"""
