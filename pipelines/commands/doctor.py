"""`trainyard doctor`: what is there, what is missing, and what to do next. Changes nothing but an empty registry."""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict

from pipelines.config.load import find_config, load_config, mistyped
from pipelines.config.schema import Config
from pipelines.doctor.checks import of_config, without_config
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
    read = Finding("ok", "")
    if config is None:
        config, read = _read_config(args)
    checks = {**without_config(), **(of_config(config) if config else {})}
    found = {"config": read} | run_all(checks, SECONDS)
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


def _read_config(args: argparse.Namespace) -> tuple[Config | None, Finding]:
    try:
        config = load_config(find_config(args.config, os.environ), os.environ, args.set)
    except ConfigError as error:
        return None, Finding(
            "fail", str(error), f"{error.hint}; repositories, registry and servers are checked after that"
        )
    if ignored := mistyped(os.environ):
        return config, Finding("warn", "; ".join(ignored), "correct the name, or unset it")
    return config, Finding("ok", f"{config.file}, model {config.model}")


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
