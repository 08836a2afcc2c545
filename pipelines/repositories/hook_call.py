"""How a post-receive hook names what a push to its repository is about: `code`, or `digits:code` where several models share a file."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.config.schema import Config
from registry.records import Trigger

ROLES: tuple[Trigger, ...] = ("code", "dataset", "tests")
WORDS: list[str] = [*ROLES]


def named(config: Config, role: str) -> str:
    """A role of a repository, with the model's name before it where there are several."""
    return f"{config.model}:{role}" if config.shared else role


def parted(name: str) -> tuple[str, str]:
    """Model and role of such a name; the model is empty where there is one only."""
    model, _, role = name.rpartition(":")
    return model, role


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, by model, and of each model as the steps need them."""
    return sorted(set(names), key=lambda name: (parted(name)[0], WORDS.index(parted(name)[1])))


def file_of(config: Config) -> str:
    """The file that a hook names."""
    return config.shared or config.file
