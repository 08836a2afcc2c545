"""Values of settings in `dataset.toml` that several of its sections have: a function returns a good one, or raises Wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

MOST_TARGETS = 1000
"""Numbers that are predicted of one sample."""
Check = Callable[[Any], Any]


class Wrong(ValueError):
    """What a value should have been."""


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise Wrong("a text")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of such, without repetitions; it may be empty."""
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise Wrong("a list of texts")
    if len(set(value)) < len(value):
        raise Wrong("a list without repetitions")
    return tuple(value)


def names(value: Any) -> tuple[str, ...]:
    """A name, or a list of at least one."""
    found = (value,) if isinstance(value, str) and value else texts(value)
    if not found:
        raise Wrong("a list of at least one name")
    return found


def targets(value: Any) -> tuple[str, ...]:
    """What several numbers per sample are called."""
    found = texts(value)
    if not 2 <= len(found) <= MOST_TARGETS:
        raise Wrong(f"a list of 2 to {MOST_TARGETS:,} names")
    return found


def path(value: Any) -> str:
    """A path inside the repository."""
    found = PurePosixPath(text(value))
    if found.is_absolute() or ".." in found.parts or "\\" in value:
        raise Wrong("a path inside the repository")
    return str(value)


def paths(value: Any) -> tuple[str, ...]:
    """One such path, or a list of at least one."""
    found = tuple(path(each) for each in ([value] if isinstance(value, str) else texts(value)))
    if not found:
        raise Wrong("a file, or a list of files")
    return found


def regex(value: Any) -> str:
    """A regular expression with one group."""
    try:
        groups = re.compile(text(value)).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong(f"a regular expression ({error})") from None
    if groups != 1:
        raise Wrong("a regular expression with exactly one (group)")
    return str(value)


def fraction(value: Any) -> float:
    """A float between 0 and 1, without both."""
    if type(value) is not float or not 0 < value < 1:
        raise Wrong("a fraction between 0 and 1")
    return value


def about_task(kind: str, section: Mapping[str, Any]) -> Iterator[str]:
    """What is there of the settings of another task."""
    task = section.get("task")
    if task != "multi-label" and "threshold" in section:
        instead = "; of anomalies it follows from `quantile`" if task == "anomaly" else ""
        yield f'[{kind}] threshold: is for task = "multi-label", and says from which probability on a label applies{instead}'
    if task != "anomaly" and "quantile" in section:
        yield f'[{kind}] quantile: is for task = "anomaly", and says which share of the train split\'s scores is usual'


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def one_of(*choices: str) -> Check:
    """One of the choices."""

    def check(value: Any) -> Any:
        if value not in choices:
            raise Wrong(f"one of {', '.join(map(repr, choices))}")
        return value

    return check


def some_of(*choices: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of some of the choices, in their order."""

    def check(value: Any) -> tuple[str, ...]:
        found = texts(value)
        if not set(found) <= set(choices):
            raise Wrong(f"a list of some of {', '.join(map(repr, choices))}")
        return tuple(each for each in choices if each in found)

    return check


def subsection(value: Any) -> Any:
    """A section of the file."""
    if not isinstance(value, dict):
        raise Wrong("a [section]")
    return value


TASK = one_of("classification", "regression", "multi-label", "anomaly")
