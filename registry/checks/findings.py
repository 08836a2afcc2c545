"""What a check has found, and how it reads a registry that may hold anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime, timedelta

from registry import codec
from registry.chain import Chain, R
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt
from registry.stores import Store, is_part, shown, walk

SKEW = timedelta(days=1)  # what clocks of several machines may differ by


@dataclass(slots=True)
class Findings:
    """Lines, each beginning with the file or folder that it is about."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What does no harm: something begun and not finished, or that only a person can assess."""

    def wrong(self, name: str, what: str) -> None:
        """Add a problem."""
        self.problems.append(f"{name}: {what}")

    def note(self, name: str, what: str) -> None:
        """Add a note."""
        self.notes.append(f"{name}: {what}")

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Turn what cannot be read into a problem. What may work later, or is a bug, is raised."""
        try:
            yield
        except (Corrupt, ConfigError) as error:
            self.problems.append(str(error))

    def names(self, store: Store, folder: str) -> list[str]:
        """What lies in a folder, without what cannot be a name: that is a problem of its own."""
        found: list[str] = []
        with self.collecting():
            for name in store.names(folder):
                if is_part(name.removesuffix("/")):
                    found.append(name)
                else:
                    self.wrong(shown(f"{folder}/{name}".removesuffix("/")), "cannot be a name in the registry")
        return found

    def below(self, store: Store, folder: str) -> list[str]:
        """All files below a folder, likewise."""
        with self.collecting():
            return walk(store, folder, self.wrong)
        return []

    def spelling(self, store: Store, name: str) -> None:
        """A record that is not in a chain must be written as Trainyard writes it; one that is missing is another matter."""
        with self.collecting(), contextlib.suppress(FileNotFoundError):
            if not codec.is_canonical(store.get(name)):
                self.wrong(name, codec.OTHERWISE)

    def records(self, chain: Chain[R]) -> list[R]:
        """The readable records of a chain."""
        # Listed before the records are: what is appended meanwhile is not taken for a foreign file.
        names = self.names(chain.store, chain.folder)
        records: list[R] = []
        with self.collecting():
            records, problems = chain.check()
            self.problems += problems
            known = {chain.name(number) for number in chain.numbers()}
            for name in names:
                if f"{chain.folder}/{name}" not in known:
                    self.wrong(f"{chain.folder}/{name}", "does not belong here")
        return records

    def clock(self, name: str, at: str, now: datetime) -> datetime | None:
        """The time `at` of a record; a note when no clock can have said so yet, a problem when it is not a time."""
        try:
            time = datetime.fromisoformat(at)
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            self.wrong(name, f"{at!r} is not a time")
            return None
        if time > now + SKEW:
            self.note(name, f"says {at}, which is in the future by the clock of this machine")
        return time.astimezone(UTC)
