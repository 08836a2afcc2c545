"""The candidate that waits for an approval, asked about logged requests: where it answers another class, a label says most."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.config.schema import Config
from pipelines.deploy.serve_job import log_folder
from pipelines.labels.scratch import alone, scratch
from pipelines.small_workers import ask
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.dataclass import dataclass
from registry.errors import ConfigError, WorkerFailed
from registry.label_store import label_file
from registry.records import Candidate
from registry.stores import Store
from serving.prediction_log.segments import ask_to_close
from training.fence.rules import Fence, around_python, lacks

MODULE = "pipelines.workers.disagreement"
MOST = 5000
"""Lines that it is asked about, once for each time the queue is filled."""
SECONDS = 120.0
"""For predicting them; the rest is left out."""
PATIENCE = 900.0
"""Seconds that the worker may take, with reading the log and loading the model."""
NEWEST = 20
"""Versions that are looked at."""
MARGIN = "the most doubtful come by margin"


@dataclass(frozen=True, slots=True)
class Asked:
    """What it came to."""

    note: str
    """For people."""
    others: tuple[tuple[str, int], ...] | None = None
    """Request and row of those answers that the candidate gives otherwise; None: no candidate was asked."""


def waiting(store: Store, model: str) -> Candidate | None:
    """The newest version after the live one that was never live, and that the gate and its newest acceptance test have accepted."""
    history = releases.releases(store, model)
    live = (history[-1].version or 0) if history else 0
    known = {each.version for each in history}
    for version in candidates.newest_versions(store, model, NEWEST):
        if version <= live:
            return None
        tests = candidates.acceptances(store, model, version) if version not in known else []
        if tests and tests[-1].accepted:
            found = candidates.manifest(store, model, version)
            if found.verdict.accepted:
                return found
    return None


def ask_candidate(config: Config, since: datetime) -> Asked:
    """To which answers since a moment the candidate gives another class. One that does not run is a note, not an error.

    Raises Corrupt for its files, and TryAgain.
    """
    store = open_registry(config, only_look=True)
    found = waiting(store, config.model)
    if found is None:
        return Asked(f"No accepted candidate is newer than the live release: {MARGIN}.")
    if found.signature.task != "classification":
        return Asked(f"Version {found.version} waits for an approval, and answers without a single class: {MARGIN}.")
    version = candidates.local_folder(store, "test", config.model, found.version)
    ask_to_close(log_folder(config))  # the images of a segment appear when it is closed
    lock = label_file(Path(config.home), config.model).with_suffix(".candidate.lock")
    with alone(lock, f"asks a candidate of {config.model}"), scratch(config, "candidate") as folder:
        try:
            return _asked(found, _result(config, version.resolve(), folder.resolve(), since))
        except (ConfigError, WorkerFailed) as error:
            return Asked(f"Version {found.version} cannot be asked ({clean(str(error), 300)}): {MARGIN}.")


def _result(config: Config, version: Path, folder: Path, since: datetime) -> dict[str, Any]:
    """What the worker found: it may read the log and the version, and write into the folder. Raises ConfigError where it must be
    fenced and cannot be, and what the worker reports."""
    if config.runner.require_fence and (missing := lacks()):
        raise ConfigError(f"[runner] require_fence: this kernel cannot fence {', '.join(missing)}")
    log = str(log_folder(config))
    job = {
        "log": log,
        "version": str(version),
        "scratch": str(folder),
        "since": since.isoformat(),
        "most": MOST,
        "seconds": SECONDS,
    }
    system = around_python()
    fence = Fence(
        read=(*system.read, log, str(version)), names=system.names, write=(str(folder),), devices=system.devices
    )
    what = "the worker that asks the candidate"
    printed = ask(MODULE, job, what, fence=fence.command(ends_with_us=True), seconds=PATIENCE)
    try:
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return {
            "others": tuple((str(request), int(row)) for request, row in found["others"]),
            "reasons": {str(reason): int(count) for reason, count in found["reasons"].items()},
            **{name: int(found[name]) for name in ("lines", "predicted", "left_out")},
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise WorkerFailed(f"{what} printed something else than its result") from None


def _asked(candidate: Candidate, found: dict[str, Any]) -> Asked:
    others = found["others"]
    said = (
        f"Version {candidate.version}, which waits for an approval, was asked about {found['predicted']:,} of {found['lines']:,} answers, "
        f"and gives another class to {len(others):,}."
    )
    if found["left_out"]:
        reasons = "; ".join(f"{count:,}: {clean(reason, 200)}" for reason, count in found["reasons"].items())
        said += f" {found['left_out']:,} cannot be predicted again and come by margin ({reasons})."
    return Asked(said, others)
