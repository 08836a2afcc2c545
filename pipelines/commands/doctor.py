"""`trainyard doctor`: what is there, what is missing, and what to do next. Changes nothing but an empty registry."""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipelines.commands.of_models import chosen_by
from pipelines.config.clashes import clashes
from pipelines.config.load import load_config, mistyped
from pipelines.config.schema import Config
from pipelines.doctor.checks import of_config, of_model, of_the_place, without_config
from pipelines.doctor.finding import Check, Finding
from registry.errors import ConfigError, PipelineError, TryAgain

NEEDS_CONFIG = False  # a file that is missing or wrong is a finding
SECONDS = 15.0


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def main(args: argparse.Namespace, config: Config | None = None) -> int:
    """Print one line per check, and the next action below it.

    2 when a person must do something, 75 when all that failed may work later.
    """
    configs, found = ([config], {"config": Finding("ok", "")}) if config else _read(args)
    if len(found) == 1:
        found |= run_all({**without_config(), **(of_config(configs[0]) if configs else {})}, SECONDS)
    else:
        found |= {"models": _together(configs)} | run_all(without_config(), SECONDS)
        found |= _of_all(configs)
    failed = [each for each in found.values() if each.state == "fail"]
    if args.json:
        print(
            json.dumps({"ok": not failed, "checks": [{"check": name} | asdict(each) for name, each in found.items()]})
        )
    else:
        for line in _lines(found):
            print(line)
    if not failed:
        return 0
    return TryAgain.exit_code if all(each.temporary for each in failed) else PipelineError.exit_code


def run_all(checks: Mapping[str, Check], seconds: float) -> dict[str, Finding]:
    """Run all checks at once; one that takes longer than `seconds` has failed. A bug in a check is raised."""
    found: dict[str, Finding] = {}
    bugs: list[Exception] = []

    def run(name: str, check: Check) -> None:
        try:
            found[name] = check()
        except PipelineError as error:
            found[name] = Finding("fail", str(error), error.hint, temporary=isinstance(error, TryAgain))
        except OSError as error:  # of the machine: what doctor is there to find
            found[name] = Finding("fail", str(error), "check the permissions there, and the disk")
        except Exception as bug:  # noqa: BLE001  (raised below, in the main thread)
            bugs.append(bug)

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in checks.items()]
    until = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if bugs:
        raise bugs[0]
    what, action = f"no answer within {seconds:g} s", "a disk or a server does not respond: check it, then retry"
    late = Finding("fail", what, action, temporary=True)
    return {name: found.get(name, late) for name in checks}


def _of_all(configs: Sequence[Config]) -> dict[str, Finding]:
    places = {(each.home, each.registry, each.runner, each.serving.deploy): each for each in configs}
    if len(places) > 1:
        return merged({each.model: run_all(of_config(each), SECONDS) for each in configs})
    found: dict[str, Finding] = {}
    for each in places.values():
        found |= run_all(of_the_place(each), SECONDS)
    return found | merged({each.model: run_all(of_model(each), SECONDS) for each in configs})


def merged(found: Mapping[str, Mapping[str, Finding]]) -> dict[str, Finding]:
    """What was found of several models, as one: with the model before its name, unless all have it in common."""
    names = dict.fromkeys(name for each in found.values() for name in each)
    made: dict[str, Finding] = {}
    for name in names:
        of_it = {model: each[name] for model, each in found.items() if name in each}
        if len(of_it) == len(found) and len(set(of_it.values())) == 1:
            made[name] = next(iter(of_it.values()))
        else:
            made |= {f"{model}: {name}": each for model, each in of_it.items()}
    return made


def _read(args: argparse.Namespace) -> tuple[list[Config], dict[str, Finding]]:
    """The settings of the models that can be read, and what there is to say of those of each."""
    try:
        files = chosen_by(args).files
    except ConfigError as error:
        return [], {"config": _unreadable(error)}
    configs, found = [], {}
    for file in files:
        name = f"{file.parent.name}: config" if len(files) > 1 else "config"
        try:
            config = load_config(file, os.environ, args.set)
        except ConfigError as error:
            found[name] = _unreadable(error)
            continue
        configs.append(config)
        where = f"{config.file}, with {config.shared}" if config.shared else config.file
        found[name] = Finding("ok", f"{where}, model {config.model}")
        if ignored := mistyped(os.environ):
            found[name] = Finding("warn", "; ".join(ignored), "correct the name, or unset it")
    return configs, found


def _unreadable(error: ConfigError) -> Finding:
    return Finding("fail", str(error), f"{error.hint}; repositories, registry and servers are checked after that")


def _together(configs: Sequence[Config]) -> Finding:
    """Whether the models can be beside each other."""
    if found := list(clashes(configs)):
        return Finding("fail", "; ".join(found), "give each its own, in its models/NAME/trainyard.toml")
    return Finding("ok", ", ".join(each.model for each in configs) or "none can be read")


def _lines(found: dict[str, Finding]) -> list[str]:
    width = max(map(len, found))
    lines = []
    for names, each in _once(found):
        lines.append(f"{each.state:<4}  {names[0]:<{width}}  {each.what}")
        if each.next:
            lines.append(f"{'':<6}{'':<{width}}  → {each.next}")
        if others := names[1:]:
            lines.append(f"{'':<6}{'':<{width}}  the same: {', '.join(others)}")
    bad = {state: sum(each.state == state for each in found.values()) for state in ("fail", "warn")}
    lines.append(f"{len(found)} checks: {bad['fail']} failed, {bad['warn']} with a warning")
    return lines


def _once(found: dict[str, Finding]) -> list[tuple[list[str], Finding]]:
    """The checks and what they found; those that failed by one cause, e.g. a registry that is away, are together."""
    groups: dict[object, tuple[list[str], Finding]] = {}
    for name, each in found.items():
        same = each if each.state == "fail" else name
        groups.setdefault(same, ([], each))[0].append(name)
    return list(groups.values())
