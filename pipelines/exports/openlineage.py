"""Events of OpenLineage about a run: https://openlineage.io/spec/2-0-2/OpenLineage.json. Plain values, no I/O.

A run has one id however often it is resumed, and the same facts give the same event.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from pipelines.mail.facts import MailFacts
from pipelines.text.clean import clean
from registry.records import Run

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]
SPEC = "https://openlineage.io/spec"
EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
PRODUCER = "urn:trainyard:pipeline:1"
NAMESPACE = "trainyard"
LONGEST = 1000  # characters of a message


def start_event(run: Run, repositories: Mapping[str, str]) -> dict[str, Any]:
    """A run begins; `repositories` is `code`, `dataset`, `tests` → address, without secrets."""
    return _event("START", run, run.created_at, repositories, {})


def end_event(
    facts: MailFacts, at: str, repositories: Mapping[str, str], registry: str, version: int | None
) -> dict[str, Any]:
    """A run has ended at `at`, and has registered `version` in the registry at this address, if it has.

    A run that rejects its candidate is complete: how it ended is in the facet `trainyard_outcome`.
    """
    kind: EventType = "ABORT" if facts.stopped else "FAIL" if facts.status == "failed" else "COMPLETE"
    why = "; ".join((facts.error, *facts.failed_criteria)).strip("; ")
    facets = {
        "trainyard_outcome": _facet(
            "2-0-2/OpenLineage.json#/$defs/RunFacet", status=facts.status, reason=clean(why, LONGEST)
        )
    }
    if facts.status == "failed":
        message = clean(f"{facts.failed_step}: {facts.error}", LONGEST)
        facets["errorMessage"] = _facet(
            "facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
            message=message, programmingLanguage="PYTHON",
        )  # fmt: skip
    event = _event(kind, facts.run, at, repositories, facets)
    if version is not None:
        event["outputs"] = [_dataset(registry, facts.run.model, str(version))]
    return event


def _event(
    kind: EventType, run: Run, at: str, repositories: Mapping[str, str], facets: Mapping[str, Any]
) -> dict[str, Any]:
    code = _facet(
        "facets/1-0-1/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet",
        type="git", url=repositories["code"], repoUrl=repositories["code"], version=run.sources.code,
    )  # fmt: skip
    return {
        "eventType": kind,
        "eventTime": at,
        "producer": PRODUCER,
        "schemaURL": EVENT,
        "run": {"runId": run_id(run), "facets": dict(facets)},
        "job": {"namespace": NAMESPACE, "name": f"{run.model}.{run.trigger}", "facets": {"sourceCodeLocation": code}},
        "inputs": [_dataset(repositories[each], each, getattr(run.sources, each)) for each in ("dataset", "tests")],
        "outputs": [],
    }


def run_id(run: Run) -> str:
    """The UUID of a run: always the same one."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:trainyard:run:{run.model}:{run.id}"))


def _dataset(namespace: str, name: str, version: str) -> dict[str, Any]:
    facet = _facet(
        "facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", datasetVersion=version
    )
    return {"namespace": namespace, "name": name, "facets": {"version": facet}}


def _facet(schema: str, **values: str) -> dict[str, str]:
    return {"_producer": PRODUCER, "_schemaURL": f"{SPEC}/{schema}", **values}
