"""What a team's own script says of its model: `metrics.json` in TRAINYARD_OUTPUT. Kept and shown; only a rule of the gate that
names one of these numbers goes by it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from registry.errors import ConfigError
from training.worker.protocol import read_foreign

FILE = "metrics.json"
MOST_BYTES = 65_536
MOST, LONGEST = 100, 64
"""Numbers, and characters of a name."""


def read_reported(output: Path) -> dict[str, float]:
    """Name → number; nothing without the file. Raises ConfigError that names the entry that is wrong, Corrupt for a file that is
    too large, or not one."""
    try:
        text = read_foreign(output / FILE, MOST_BYTES)
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"not JSON: {error}") from None
    if not isinstance(found, dict) or len(found) > MOST:
        raise _refused(f"it is not one object with at most {MOST} numbers by name")
    return {_name(name): _number(name, value) for name, value in found.items()}


def must_hold(reported: dict[str, float], names: Sequence[str]) -> None:
    """Raise ConfigError for a number that a rule of the gate names, and the script has not written."""
    if missing := [each for each in names if each not in reported]:
        known = ", ".join(map(repr, list(reported)[:10])) or "nothing"
        raise ConfigError(
            f"[[gate.rule]] script:{missing[0]}: the training script has reported no {missing[0]!r}; in its {FILE}: {known}",
            hint=f"write it to $TRAINYARD_OUTPUT/{FILE}, or correct the name in the rule",
        )


def _name(name: str) -> str:
    if not name or len(name) > LONGEST or not name.isprintable():
        raise _refused(f"{name!r:.100} is not a name of at most {LONGEST} printable characters")
    return name


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(f"{name}: {value!r:.100} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refused(f"{name}: {value!r:.100} is not a finite number")
    return number


def _refused(why: str) -> ConfigError:
    return ConfigError(
        f"the script's {FILE}: {why}", hint=f'write one object, e.g. {{"val_auc": 0.93}}, to $TRAINYARD_OUTPUT/{FILE}'
    )
