"""What is known of a candidate, read once for a page: from the registry, and from its run's folder if that is still there."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

from pipelines.config.schema import Config
from pipelines.console.decisions.promoting import Progress, Promotion
from pipelines.console.decisions.state import Registered, with_missing
from pipelines.promotion.approve import holding
from pipelines.repositories.changes import Changes, Fetched
from pipelines.runs import RunFolder
from pipelines.workers.examples_file import FILE, MOST_BYTES, Examples, read_examples
from registry import candidates, codec, decisions, releases
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, PipelineError
from registry.files import sha256_bytes
from registry.records import Acceptance, Candidate, Run
from registry.stores import Store
from registry.undo import has_failed, live_before
from training.worker.protocol import read_foreign

T = TypeVar("T")
MOST_FETCHED = 4 << 20
MOST_LISTED = 20
"""Versions."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that the page shows."""

    candidate: Candidate
    registered: Registered
    progress: Progress
    live: Candidate | None
    """The manifest of what is live; None: nothing is."""
    live_tests: tuple[Acceptance, ...]
    back_to: int | None
    """The version that a rollback would go to once this one is live."""
    run: Run | None
    changes: tuple[Changes, ...]
    examples: Examples | None
    later: tuple[int, ...] = ()
    """Versions after this one, the newest first."""

    @property
    def live_version(self) -> int | None:
        """What answers requests now."""
        return self.live.version if self.live else None


def read_registered(
    store: Store, config: Config, version: int, *, running: bool = False
) -> tuple[Candidate, Registered]:
    """What a decision depends on; raises ConfigError when there is no such version."""
    model = config.model
    candidate, digest = candidates.read_manifest(store, model, version)
    history = releases.read_history(store, model)
    tests = [each for each in candidates.acceptances(store, model, version) if each.card == digest]
    made = list(history.releases)
    promotions = [each for each in made if each.kind == "promotion" and each.card == digest]
    known = Registered(
        model,
        version,
        digest,
        candidate.authors,
        tuple(tests),
        tuple(decisions.about(store, model, digest)),
        tuple(holding(config, digest, history)),
        tuple(made),
        served=any(not has_failed(each, next(iter(made[each.number : each.number + 1]), None)) for each in promotions),
        running=running,
    )
    return candidate, with_missing(known, history.approvals.having("card", digest))


def read_known(store: Store, config: Config, home: Path, version: int) -> Known:
    """All that is known; raises ConfigError when there is no such version, Corrupt when a record that matters was altered."""
    progress = Promotion(home, config.model, version).progress()
    candidate, registered = read_registered(store, config, version, running=progress.running)
    current = registered.releases[-1] if registered.releases else None
    live, tests = None, tuple[Acceptance, ...]()
    if current and current.version is not None:
        with contextlib.suppress(PipelineError):  # it may be damaged: this page is about another version
            live = candidates.manifest(store, config.model, current.version, "production")
            tests = tuple(candidates.acceptances(store, config.model, current.version))
    back = live_before(registered.releases) if registered.is_live else current
    folder = RunFolder(config.runs / candidate.run)
    fetched = _read(Fetched, folder.root / "fetched.json")
    later = tuple(each for each in candidates.newest_versions(store, config.model, MOST_LISTED) if each > version)
    return Known(
        candidate,
        registered,
        progress,
        live,
        tests,
        back.version if back else None,
        _read(Run, folder.root / "run.json"),
        tuple(each for each in fetched.changes if each.commits) if fetched else (),
        _examples(store, candidate),
        later,
    )


def waiting(store: Store, config: Config) -> list[int]:
    """The versions that can be decided about, the newest first: those after the newest one that was ever live, and not refused."""
    model = config.model
    made = releases.read_history(store, model).releases
    released = max((each.version for each in made if each.version is not None and each.kind == "promotion"), default=0)
    refused = {each.version for each in decisions.decision_chain(store, model).records() if each.kind != "approved"}
    found = candidates.newest_versions(store, model, MOST_LISTED)
    return [each for each in found if each > released and each not in refused]


def _examples(store: Store, candidate: Candidate) -> Examples | None:
    """None where the version has none, or its bytes are elsewhere or altered: everything else is still shown."""
    digest = candidate.files.get(FILE)
    if digest is None:
        return None
    try:
        path = store.path(f"{candidates.version_folder('test', candidate.model, candidate.version)}/{FILE}")
        data = read_foreign(path, MOST_BYTES)
        return read_examples(data) if sha256_bytes(data) == digest else None
    except (FileNotFoundError, Corrupt, ConfigError):
        return None


def _read(kind: type[T], path: Path) -> T | None:
    """A record of the run's folder, which may be gone, or another machine's."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, Corrupt):
        return codec.from_json(kind, read_foreign(path, MOST_FETCHED), path.name)
    return None
