"""`trainyard service install|show|remove watch|monitor|serve|console`: have systemd keep a command running."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.command_line import command_line
from pipelines.commands.of_models import must_name
from pipelines.config.held import environment_with_held
from pipelines.config.schema import Config
from pipelines.systemd import MARK, NEEDED, Service, Unit, crontab, environment_of, file_name, words
from registry.errors import ConfigError, TryAgain
from registry.files import write_whole

BOOTED = Path("/run/systemd/system")
"""Exists where systemd is the first process (sd_booted(3))."""
SYSTEM_UNITS = Path("/etc/systemd/system")
NOT_RUNNING = 3
"""The exit code of `show` when the service does not run, as `systemctl status` has it."""
SECONDS = 120
"""For one call of systemctl; TimeoutStopSec is 60."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("install", "show", "remove"),
        help="write the unit, enable and start it; its state; stop and delete it",
    )
    parser.add_argument("name", choices=tuple(NEEDED), help="which command is kept running")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--system", action="store_true", help="a unit of the machine; default for root")
    whose.add_argument("--user", action="store_true", help="a unit of your own; default for everybody else")
    parser.add_argument("--as", dest="account", metavar="USER", help="--system: as whom; default: the owner of [home]")
    parser.add_argument(
        "--print", "--dry-run", dest="only_print", action="store_true", help="install: print the unit, and do nothing"
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was done; exit code 3 of `show`: it does not run."""
    return run(args, config)


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """One unit that watches, monitors or shows all models; each API has its own."""
    config = configs[0] if args.name != "serve" else must_name(configs)
    folder = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(config.shared).parent.name).strip("-") or "trainyard"
    return run(args, dataclasses.replace(config, model=f"{folder}-models", file=config.shared))


def run(args: argparse.Namespace, config: Config, booted: Path = BOOTED, units: Path = SYSTEM_UNITS) -> int:
    """As `main`; `booted` exists where systemd runs, and `units` is the folder of the machine's units."""
    system = args.system or (os.geteuid() == 0 and not args.user)
    name: Service = args.name
    folder = units if system else Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"
    path = folder / file_name(config, name)
    if args.account and not system:
        raise ConfigError(f"--as {args.account}: a unit of a user runs as that user", hint="omit --as, or add --system")
    if args.action == "install":
        if name == "serve" and config.serving.deploy != "process":
            raise ConfigError(
                f'with [serving] deploy = "{config.serving.deploy}" the API is not a process of this machine\'s systemd',
                hint="the engine starts its containers again by itself; with Jenkins, the promotion job starts it",
            )
        unit, missing = _unit(args, config, system=system)
        text = unit.text(config)
        for each in missing:
            print(
                f"note: TRAINYARD_{each} is set here, and the service will not have it: write it into a file that only its "
                f"user can read, set TRAINYARD_{each}_FILE, and install again",
                file=sys.stderr,
            )
        if args.only_print:
            print(text, end="")
            return 0
    systemctl = _systemctl(config, name, booted, system=system)
    if args.action == "install":
        _must_be_ours(path)
        _write(path, text, config, name)
        for command in (["daemon-reload"], ["enable", path.name], ["restart", path.name]):
            _call([*systemctl, *command])
    elif args.action == "remove":
        _must_be_ours(path)
        if path.exists():
            _call([*systemctl, "disable", "--now", path.name])
            path.unlink()
            _call([*systemctl, "daemon-reload"])
    return _show(args, path, systemctl, system=system)


def _unit(args: argparse.Namespace, config: Config, *, system: bool) -> tuple[Unit, list[str]]:
    environment = environment_with_held(os.environ)
    files, settings, missing = environment_of(args.name, environment)
    files = {name: os.path.abspath(path) for name, path in files.items()}
    account = (args.account or _owner(config)) if system else ""
    if args.account:
        try:
            pwd.getpwnam(account)
        except KeyError:
            raise ConfigError(
                f"--as {account}: this machine has no such user", hint="`useradd --system NAME`"
            ) from None
    return Unit(args.name, system, account, words(config, args.name, sys.executable), files, settings), missing


def _owner(config: Config) -> str:
    """Who owns the home, else the file with the settings."""
    home = Path(config.home)
    owner = (home if home.exists() else Path(config.file)).stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def _systemctl(config: Config, name: Service, booted: Path, *, system: bool) -> list[str]:
    """The program with its options; raises ConfigError where systemd does not run."""
    program = shutil.which("systemctl")
    if not booted.is_dir() or program is None:
        line = crontab(name, words(config, name, sys.executable), str(Path(config.file).parent))
        raise ConfigError(
            "systemd does not run on this machine (in a container, that is usual)",
            hint=f"let what starts this machine's programs start it, or write into a crontab (`crontab -e`): {line}",
        )
    return [program] if system else [program, "--user"]


def _must_be_ours(path: Path) -> None:
    if path.is_symlink() or (path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")):
        raise ConfigError(f"{path} was not written by Trainyard", hint="rename it, or change the model's name")


def _write(path: Path, text: str, config: Config, name: Service) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except PermissionError as error:
        again = command_line(config, "service", "install", name)
        raise ConfigError(
            f"{path}: {error.strerror}", hint=f"as root: sudo {again} --system; or a unit of your own: {again} --user"
        ) from None


def _call(command: Sequence[str]) -> None:
    done = _run(command)
    if done.returncode:
        hint = "log in as that user (not with su or sudo), so that systemd has a session of theirs"
        said = (done.stderr or done.stdout).strip()
        raise ConfigError(
            f"{shlex.join(command)} ended with {done.returncode}: {said}",
            hint=hint if "--user" in command else f"journalctl -u {command[-1]} shows what the service has printed",
        )


def _asked(command: Sequence[str]) -> str:
    """The first word of the answer: `active`, `enabled`; these end with other codes than 0 where it is not."""
    return (_run(command).stdout.split() or ["unknown"])[0]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise TryAgain(
            f"{shlex.join(command)} has not ended after {SECONDS} s",
            hint="`systemctl list-jobs` shows what it waits for",
        ) from None


def _show(args: argparse.Namespace, path: Path, systemctl: Sequence[str], *, system: bool) -> int:
    there = path.exists()
    active = _asked([*systemctl, "is-active", path.name]) if there else "not installed"
    enabled = _asked([*systemctl, "is-enabled", path.name]) if there else "not installed"
    log = f"journalctl {'' if system else '--user '}-u {path.name}"
    if args.json:
        print(json.dumps({"unit": str(path), "active": active, "enabled": enabled, "log": log}))
    elif not there:
        print(f"{args.name}: {'removed' if args.action == 'remove' else 'not installed'} ({path})")
    else:
        print(f"{args.name}: {active}, {enabled}\n  unit  {path}\n  log   {log}")
        if args.action == "install" and not system:
            print("  It ends with your last session, unless `loginctl enable-linger` lets it stay.")
    return 0 if active == "active" or args.action != "show" else NOT_RUNNING
