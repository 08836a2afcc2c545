"""`metrics.py` of a tests repository, as far as it is known without running it. Light: the controller asks before it trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry.errors import ConfigError
from registry.records.measure import OWN, name_after
from training.model.contract import compiled, gives

FILE = "metrics.py"
CALL = "(truth, answers), or (truth, answers, classes)"
HINT = "correct it in the tests repository, commit and push"


def must_define(tests: Path, measures: Sequence[str]) -> None:
    """Raise ConfigError unless `metrics.py` is there, is Python and defines each function that a rule names."""
    names = dict.fromkeys(name_after(OWN, each) for each in measures)
    try:
        compiled(tests / FILE, HINT)
    except OSError:
        raise ConfigError(
            f"[[gate.rule]] own:{next(iter(names))}: the tests repository has no {FILE}",
            hint=f"add {FILE} there, with a function {next(iter(names))}{CALL}",
        ) from None
    for name in names:
        if not gives(tests / FILE, name):
            raise ConfigError(
                f"[[gate.rule]] own:{name}: {FILE} of the tests repository defines no {name}",
                hint=f"define {name}{CALL} there, or correct the name in the rule",
            )
