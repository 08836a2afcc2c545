"""A run as MLflow has it: parameters, metrics, tags, its dataset, and the version that it made. Plain values, no I/O.

A document is kept as JSON until it is delivered, so it holds all but the report's files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.mail.facts import MailFacts
from pipelines.mail.statements import started_by, statement
from pipelines.text.clean import clean
from registry.records import Candidate, Run
from training.loop.history import History

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_\-. :/]")
LONGEST_NAME, LONGEST_VALUE, LONGEST_TAG = 250, 500, 5000  # characters; MLflow takes 250, 6000 and 8000
MOST_POINTS = 500
"""Epochs of each curve; of more, every other one, or every third, and so on."""
MOST_CURVES = 20
MOST_SETTINGS = 100
DIGEST = 36
"""Characters that MLflow keeps of a dataset's digest."""
STATUSES = {"failed": "FAILED", "stopped": "KILLED"}
"""How a run has ended → MLflow's word; all others have come to an end, also those that rejected a candidate."""


def run_document(
    facts: MailFacts,
    manifest: Candidate | None,
    history: History | None,
    settings: Mapping[str, Any],
    repositories: Mapping[str, str],
) -> dict[str, Any]:
    """All about one run.

    `settings`: those that can change the outcome, by section. `repositories`: `code`, `dataset`, `tests` → address, without
    secrets. `manifest`: that of the version which this run has made.
    """
    run = facts.run
    start = _milliseconds(run.created_at)
    seconds = sum(each for _, each in facts.seconds)
    return {
        "run": run.id,
        "model": run.model,
        "start": start,
        "end": start + round(seconds * 1000),
        "status": STATUSES.get("stopped" if facts.stopped else facts.status, "FINISHED"),
        "tags": {_name(key): clean(value, LONGEST_TAG) for key, value in _tags(facts, manifest, repositories) if value},
        "params": dict(list(_params(settings))[:MOST_SETTINGS]),
        "metrics": [*_curves(history, start), *_measured(facts, start)],
        "dataset": _dataset(run, repositories),
        "version": {"number": manifest.version, "how": manifest.how} if manifest else None,
    }


def _milliseconds(at: str) -> int:
    return int(datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() * 1000)


def _name(words: str) -> str:
    return NOT_IN_NAMES.sub("_", clean(words, LONGEST_NAME)) or "_"


def _tags(facts: MailFacts, manifest: Candidate | None, repositories: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    run = facts.run
    yield "trainyard.run", run.id
    yield "trainyard.status", facts.status
    yield "trainyard.trigger", run.trigger
    yield "trainyard.live", "" if facts.live_version is None else str(facts.live_version)
    for name in ("code", "dataset", "tests"):
        yield f"trainyard.commit.{name}", getattr(run.sources, name)
    yield "mlflow.source.git.commit", run.sources.code
    yield "mlflow.source.git.repoURL", repositories["code"]
    yield "mlflow.source.name", repositories["code"]
    yield "mlflow.source.type", "JOB"
    yield "mlflow.user", started_by(run)
    note = [statement(facts).headline, run.reason, *facts.failed_criteria, facts.error]
    yield "mlflow.note.content", "; ".join(each for each in note if each)
    if manifest:
        yield "trainyard.version", str(manifest.version)
        yield "trainyard.how", manifest.how
        yield "trainyard.image", manifest.image or ""
        yield from ((f"trainyard.package.{name}", version) for name, version in manifest.packages.items())


def _params(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Only what is part of a run's id: MLflow lets no parameter change, and a run may be resumed."""
    for section, values in settings.items():
        for key, value in values.items() if isinstance(values, Mapping) else ():
            text = value if isinstance(value, str) else json.dumps(value)
            yield _name(f"{section}.{key}"), clean(text, LONGEST_VALUE)


def _curves(history: History | None, start: int) -> Iterator[dict[str, Any]]:
    """Every epoch's numbers, one attempt after the other."""
    epochs = [each for attempt in history.rounds for each in attempt.epochs] if history else []
    names = list(dict.fromkeys(name for each in epochs for name in each))[:MOST_CURVES]
    every = max(1, math.ceil(len(epochs) / MOST_POINTS))
    at = float(start)
    for step, each in enumerate(epochs):
        at += 1000 * max(0.0, _finite(each.get("seconds")) or 0.0)
        if step % every == 0 or step == len(epochs) - 1:
            for name in names:
                if (value := _finite(each.get(name))) is not None:
                    yield {"key": _name(f"training/{name}"), "value": value, "timestamp": round(at), "step": step}


def _measured(facts: MailFacts, start: int) -> Iterator[dict[str, Any]]:
    """What was measured on the holdout: of the candidate, of the live release, and the difference."""
    found = facts.evaluation
    if not found:
        return
    values = {f"holdout/{name}": value for name, value in found.candidate.values.items()}
    values |= {f"live/{name}": value for name, value in (found.live.values if found.live else {}).items()}
    for each in (found.comparison, *found.comparisons):
        if each:
            values[f"difference/{each.metric}"] = each.difference
    for name, value in values.items():
        if _finite(value) is not None:
            yield {"key": _name(name), "value": value, "timestamp": start, "step": 0}


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _dataset(run: Run, repositories: Mapping[str, str]) -> dict[str, str]:
    source = {"url": repositories["dataset"], "commit": run.sources.dataset}
    return {
        "name": f"dataset of {run.model}",
        "digest": run.sources.dataset[:DIGEST],
        "source_type": "git",
        "source": json.dumps(source),
    }
