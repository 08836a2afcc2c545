"""The files with one model's settings: its own and, below it, the one that it shares with other models.

Tables are merged; of everything else, lists too, the model's own file has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.config.check import sections
from pipelines.config.models import FOLDER
from registry import toml
from registry.errors import ConfigError

Check = Callable[[dict[str, Any]], Iterable[tuple[str, str]]]
"""Brings each value into its type; gives the names of those that have none, with what is wrong."""


class Layers:
    """What is in the files, by the full names of settings, and where each of it is."""

    def __init__(self, file: Path, shared: Path | None = None) -> None:
        self.file = file
        self.shared = shared
        self.values: dict[str, Any] = {}
        self.problems: dict[Path, list[str]] = {}
        self.refused: frozenset[str] = frozenset()
        """Of the shared file, settings that are wrong."""
        self._own: frozenset[str] = frozenset()
        self._shared: frozenset[str] = frozenset()

    @property
    def model(self) -> str:
        """The name of the model's folder, which is the model's, where several share a file; else empty."""
        return self.file.parent.name if self.shared else ""

    def read(self, check: Check) -> None:
        """Read the files; raises ConfigError for one that cannot be read. What is wrong in the shared one is found here, as it may
        be overruled above."""
        if self.shared:
            values = self._values(self.shared)
            bad = dict(check(dict(values)))
            self.problems.setdefault(self.shared, []).extend(bad.values())
            self.values = {name: value for name, value in values.items() if name not in bad}
            self.refused = frozenset(bad)
            self._must_be_beside()
        own = self._values(self.file)
        self._own, self._shared = frozenset(own), frozenset(self.values) - frozenset(own)
        self.values = merged(self.values, own)
        if self.model and self.values.setdefault("model", self.model) != self.model:
            self.report(
                f"model: {self.values['model']!r:.100} is in {FOLDER}/{self.model}, and a model is called as its folder: "
                "remove the line, or rename the folder"
            )
            self.values["model"] = self.model

    def put(self, name: str, value: Any) -> None:
        """Overrule what the files say: no file has it then."""
        self.values[name] = value
        self._own -= {name}
        self._shared -= {name}

    def folder(self, name: str) -> Path:
        """What the path in this setting is relative to: the folder of the file that it is in, else of the shared one."""
        return (self.file if self.shared is None or name in self._own else self.shared).parent

    def is_own(self, name: str) -> bool:
        """Whether the setting is in the model's own file."""
        return name in self._own

    def report(self, problem: str, name: str = "") -> None:
        """Keep a problem, of the setting that it is about where one is named."""
        where = self.shared if self.shared and name in self._shared else self.file
        self.problems.setdefault(where, []).append(problem)

    def raise_problems(self, hint: Callable[[list[str]], str], *, in_order: bool = False) -> None:
        """Raise ConfigError with every problem, each with the file that it is in; nothing without one."""
        found = {file: each if in_order else sorted(each) for file, each in self.problems.items() if each}
        if found:
            said = "; ".join(f"{file}: {'; '.join(each)}" for file, each in found.items())
            raise ConfigError(said, hint=hint([each for several in found.values() for each in several]))

    def _must_be_beside(self) -> None:
        """A command finds the shared file by the place of the model's own."""
        assert self.shared
        folder = self.shared.parent.resolve()
        if self.file.resolve() != folder / FOLDER / self.model / self.file.name:
            where = f"{FOLDER}/{self.model}"
            self.report(f"{where} is a link, or its file is one: make it a folder with a file, in the repository")

    def _values(self, file: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in _read(file).items():
            if key not in sections():
                found[key] = value
            elif isinstance(value, dict):
                found |= {f"{key}.{name}": each for name, each in value.items()}
            else:
                self.problems.setdefault(file, []).append(f"{key}: {value!r} is not a section, write [{key}]")
        return found


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables as one: what both have is the upper one's, unless both have a table, which are merged in turn."""
    found = dict(below)
    for name, value in above.items():
        there = found.get(name)
        found[name] = merged(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return toml.read(path)
    except OSError as error:
        hint = "name the file with --config; when a push shows this: `trainyard hooks install` in the folder that has it now"
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}", hint="correct the file; texts need quotes") from None
