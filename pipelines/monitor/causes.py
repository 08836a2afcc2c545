"""What people can silence: the causes of alarms, as far as this model's monitor knows them."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.monitor.store import MonitorStore
from pipelines.text.clean import clean

KNOWN = 30
"""Causes that an error names."""
OF_EVERY_MODEL = (
    *(f"service {each}" for each in ("error share", "latency", "traffic", "dropped lines", "other release")),
    "decay sequence of errors",
    "decay estimated accuracy",
)
"""They can be silenced before they were checked for the first time."""


def meant(given: str, causes: Sequence[str]) -> str:
    """The cause that is written so, or shown so: what cannot be printed of a name is not shown, and cannot be typed."""
    alike = [each for each in causes if clean(each) == clean(given)]
    return alike[0] if given not in causes and len(alike) == 1 else given


def known_causes(store: MonitorStore) -> list[str]:
    """Those of the newest window, the failed ones first, and those that are remembered."""
    newest, state = store.newest(), store.state()
    failed = [each.cause for each in newest.failed] if newest else []
    others = sorted({each.cause for each in newest.checks}) if newest else []
    return list(dict.fromkeys((*failed, *(each.alarm.cause for each in state.alarms), *sorted(state.causes), *others)))
