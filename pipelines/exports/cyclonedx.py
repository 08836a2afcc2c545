"""The bill of materials of a version, as CycloneDX 1.6: its packages, its data, its files, and a model card (an ML-BOM).

https://cyclonedx.org/docs/1.6/json/. The same arguments give the same bytes.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from registry.records import Candidate, Metrics, TensorSpec

MAX_CLASSES = 1000
"""Whose precision and recall are in it."""
NOT_PACKAGES = {"python"}


def bom(manifest: Candidate, repositories: Mapping[str, str], at: str) -> bytes:
    """The document, made at `at`; `repositories` is `code`, `dataset`, `tests` → address, without secrets."""
    name, version = manifest.model, str(manifest.version)
    data = f"dataset-{manifest.sources.dataset[:12]}"
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": version,
        "hashes": _hashes(manifest.files.get(manifest.served.path, "")),
        "externalReferences": [_commit(repositories, "code", manifest.sources.code)],
        "modelCard": _card(manifest, data),
        "properties": [{"name": f"trainyard:{key}", "value": value} for key, value in _properties(manifest)],
    }
    packages = list(_packages(manifest.packages))
    dataset = {
        "type": "data",
        "bom-ref": data,
        "name": f"dataset of {name}",
        "version": manifest.sources.dataset,
        "data": [{"type": "dataset", "name": f"commit {manifest.sources.dataset} of the dataset repository"}],
        "externalReferences": [_commit(repositories, "dataset", manifest.sources.dataset)],
    }
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:trainyard:bom:{name}:{version}:{manifest.run}')}",
        "version": 1,
        "metadata": {
            "timestamp": at,
            "tools": {"components": [{"type": "application", "name": "trainyard"}]},
            "component": {key: value for key, value in model.items() if value},
        },
        "components": [dataset, *packages],
        "dependencies": [{"ref": "model", "dependsOn": sorted({data, *(each["bom-ref"] for each in packages)})}],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}] if sha256 else []


def _commit(repositories: Mapping[str, str], name: str, commit: str) -> dict[str, str]:
    return {"type": "vcs", "url": repositories[name], "comment": f"{name} commit {commit}"}


def _packages(packages: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for name, version in sorted(packages.items()):
        if name in NOT_PACKAGES:
            yield {"type": "platform", "bom-ref": f"platform-{name}", "name": name, "version": version}
        else:
            purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
            yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _card(manifest: Candidate, data: str) -> dict[str, Any]:
    signature, measured = manifest.signature, manifest.evaluation.candidate
    return {
        "modelParameters": {
            "task": f"{signature.task} of {signature.kind} data",
            "datasets": [{"ref": data}],
            "inputs": [{"format": _format(each)} for each in signature.inputs],
            "outputs": [{"format": _format(each)} for each in signature.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(manifest, measured))},
        "considerations": {"technicalLimitations": list(_limitations(measured))},
    }


def _format(spec: TensorSpec) -> str:
    shape = ", ".join("any" if each is None else str(each) for each in spec.shape)
    return f"{spec.name}: {spec.dtype} [{shape}]"


def _metrics(manifest: Candidate, measured: Metrics) -> Iterator[dict[str, Any]]:
    for name, value in measured.values.items():
        if math.isfinite(value):
            yield {"type": name, "value": repr(value), "slice": "holdout"}
    for name, each in list(measured.classes.items())[:MAX_CLASSES]:
        for kind, value in (("precision", each.precision), ("recall", each.recall), ("f1", each.f1)):
            if each.support and math.isfinite(value):
                yield {"type": kind, "value": repr(value), "slice": f"holdout, class {name}"}
    for name, of in list(measured.targets.items())[:MAX_CLASSES]:
        for kind, value in (("mae", of.mae), ("rmse", of.rmse), ("r2", of.r2)):
            if math.isfinite(value):
                yield {"type": kind, "value": repr(value), "slice": f"holdout, target {name}"}
    if (gap := manifest.evaluation.comparison) and all(map(math.isfinite, (gap.difference, gap.low, gap.high))):
        yield {
            "type": f"{gap.metric}, better than version {gap.live_version} by",
            "value": repr(gap.difference),
            "slice": "holdout",
            "confidenceInterval": {"lowerBound": repr(gap.low), "upperBound": repr(gap.high)},
        }


def _limitations(measured: Metrics) -> Iterator[str]:
    yield f"The numbers hold for data like the holdout's {measured.samples} samples; nothing is known about other data."
    if unknown := [name for name, each in measured.classes.items() if not each.support]:
        yield f"No sample of these classes was in the holdout: {', '.join(unknown[:MAX_CLASSES])}."


def _properties(manifest: Candidate) -> Iterator[tuple[str, str]]:
    yield "run", manifest.run
    yield "how", manifest.how
    yield "seed", str(manifest.seed)
    yield "served", f"{manifest.served.path} by {manifest.served.engine}"
    yield "tests", manifest.sources.tests
    if manifest.image:
        yield "image", manifest.image
