"""The models that a console shows: their settings, and the registry of each, which is opened when it is needed."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.config.console_sections import Console, Role
from pipelines.config.schema import Config
from pipelines.console.person import Person
from pipelines.console.roles import role_in
from pipelines.trust import open_registry
from registry.errors import ConfigError
from registry.stores import Store


@dataclass
class _Opened:
    """The store of a place, once it is there; one for all threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    store: Store | None = None


@dataclass(frozen=True)
class Place:
    """One model: its settings and its registry."""

    name: str
    config: Config
    _opened: _Opened = field(default_factory=_Opened, compare=False, repr=False)

    @property
    def store(self) -> Store:
        """The registry; raises PipelineError when it cannot be opened, and tries again the next time."""
        with self._opened.lock:
            if self._opened.store is None:
                self._opened.store = open_registry(self.config, only_look=True)
            return self._opened.store


class Installation:
    """All models that are served by one console, and what they share."""

    def __init__(self, configs: Sequence[Config]) -> None:
        """Raises ConfigError when the models do not agree on what one console can have only once."""
        shared = {_of_all(each) for each in configs}
        if len(shared) > 1:
            raise ConfigError(
                "[console] and home differ between the models, which share one console",
                hint="set them in the trainyard.toml that the models share; only [console.roles] may be a model's own",
            )
        self.models: Mapping[str, Place] = {each.model: Place(each.model, each) for each in configs}
        self.config = configs[0]

    @property
    def settings(self) -> Console:
        """What all models share; the roles are a model's own."""
        return self.config.console

    @property
    def home(self) -> Path:
        """The console's own folder: users, sessions, the audit log."""
        return Path(self.config.home) / "console"

    def roles_of(self, person: Person) -> dict[str, Role]:
        """Model → the person's role, where there is one."""
        found = {name: role_in(place.config.console.roles, person) for name, place in self.models.items()}
        only = person.only.rpartition("/")[0]
        return {name: role for name, role in found.items() if role and only in {"", name}}


def _of_all(config: Config) -> tuple[str, str]:
    return config.home, repr(dataclasses.replace(config.console, roles={}))
