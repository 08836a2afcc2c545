"""`trainyard hooks install`: a post-receive hook in each local bare repository, so that `git push` starts its pipeline.

With --jenkins the hook runs nothing itself: it notifies Jenkins, which polls the repository and starts its job.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.commands.of_models import must_name
from pipelines.config.schema import Config
from pipelines.repositories import git, hook_call
from registry.errors import ConfigError
from registry.files import write_whole

NAMES = hook_call.ROLES
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
    return main_of_all(args, [config])


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """The same for several models, of which some may have a repository in common: it has one hook for all of them."""
    asked = _asked(args, configs)
    file = hook_call.file_of(configs[0])
    for hook, roles in asked.items():
        if hook.exists() and MARK not in hook.read_text(encoding="utf-8", errors="replace"):
            call = "the script that would be installed otherwise" if args.jenkins is not None else _command(roles, file)
            raise ConfigError(
                f"{hook} was not written by Trainyard",
                hint=f"keep it, and call from it: {call}  (which reads `old new ref` lines on stdin)",
            )
    before = {hook: _roles(hook, file) for hook in asked}
    if args.action == "remove":
        models = {each.model if each.shared else "" for each in configs}
        left = {
            hook: [each for each in roles if hook_call.parted(each)[0] not in models] for hook, roles in before.items()
        }
        done = {
            hook: [each for each in before[hook] if each not in left[hook]] or roles for hook, roles in asked.items()
        }
        _remove(hook for hook, roles in left.items() if not roles)
        _write({hook: _script(roles, file) for hook, roles in left.items() if roles})
    elif args.jenkins is None:
        done = {hook: hook_call.in_order([*before[hook], *roles]) for hook, roles in asked.items()}
        _write({hook: _script(roles, file) for hook, roles in done.items()})
    else:
        done = {hook: hook_call.in_order([*before[hook], *roles]) for hook, roles in asked.items()}
        _notify_jenkins(done, configs)
    if args.json:
        print(json.dumps({name: str(hook) for hook, names in done.items() for name in names}))
    else:
        for hook, names in done.items():
            print(f"{', '.join(names)}: {hook} {'removed' if args.action == 'remove' else 'installed'}")
    return 0


def _asked(args: argparse.Namespace, configs: Sequence[Config]) -> dict[Path, list[str]]:
    """Each hook, with the roles of its repository that are asked for."""
    found: dict[Path, list[str]] = {}
    for config in configs:
        for role, path in _paths(args, configs, config).items():
            hook = _hooks_folder(role, path) / "post-receive"
            found.setdefault(hook, []).append(hook_call.named(config, role))
    return found


def _roles(hook: Path, file: str) -> list[str]:
    """For what the hook there, of this file, runs the pipeline: a repository may be code, dataset and tests at once."""
    text = hook.read_text(encoding="utf-8", errors="replace") if hook.is_file() else ""
    if f" --config {shlex.quote(file)}\n" not in text:
        return []
    words = text.partition(" pipelines hook ")[2].partition(" --config ")[0].split()
    return [each for each in words if hook_call.parted(each)[1] in NAMES]


def _paths(args: argparse.Namespace, configs: Sequence[Config], config: Config) -> dict[str, str]:
    """Each chosen repository → its path on this machine."""
    paths = {}
    for each in [*args.repository, *(args.jenkins or ())] or NAMES:
        name, _, path = each.partition("=")
        if name not in NAMES:
            raise ConfigError(
                f"hooks: unknown repository {each!r}", hint=f"{', '.join(NAMES)}, or NAME=PATH with one of them"
            )
        if path and len({getattr(one.repositories, name) for one in configs}) > 1:
            must_name(configs)
        paths[name] = path or getattr(config.repositories, name)
    return paths


def _notify_jenkins(hooks: Mapping[Path, Sequence[str]], configs: Sequence[Config]) -> None:
    from pipelines.jenkins_server import push_hook

    token = push_hook.notify_token()
    scripts = {hook: push_hook.script(_branches(roles, configs), MARK) for hook, roles in hooks.items()}
    for hook in hooks:
        hook.parent.mkdir(exist_ok=True)
        push_hook.write_token(hook.parent, token)
    _write(scripts)


def _branches(roles: Sequence[str], configs: Sequence[Config]) -> list[tuple[Config, str]]:
    """The settings and the roles of one repository; one notice is enough for all Jenkins jobs that poll it."""
    by_model = {each.model if each.shared else "": each for each in configs}
    parted = map(hook_call.parted, roles)
    return [(by_model[model], role) for model, role in parted if model in by_model]


def _write(scripts: Mapping[Path, str]) -> None:
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


def _command(roles: Sequence[str], file: str) -> str:
    # the interpreter by its full path: a hook's PATH is the git server's
    return shlex.join([sys.executable, "-P", "-m", "pipelines", "hook", *roles, "--config", file])


def _script(roles: Sequence[str], file: str) -> str:
    python, chosen = shlex.quote(sys.executable), " ".join(dict.fromkeys(hook_call.parted(each)[1] for each in roles))
    return f"""#!/bin/sh
{MARK}
# A push to this repository starts the pipeline for {" ".join(roles)}. The push itself has succeeded by now, whatever happens here.
for needed in {python} {shlex.quote(file)}; do
  [ -e "$needed" ] && continue
  hook=$(cd "$(dirname "$0")" && pwd)/post-receive
  echo "Trainyard: this push has started no run: $needed is gone, which its hook names ($hook)" >&2
  echo "  hint: in the folder that has trainyard.toml now: trainyard hooks install {chosen}" >&2
  exit 0
done
exec {_command(roles, file)}
"""
