"""Runs, versions and aliases on an MLflow server, by its REST API and without its package (621 MB).

Everything can be repeated: a run is found again by its tag `trainyard.run`, a version by `trainyard.version`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pipelines.exports.http import Refused, Server

API = "api/2.0/mlflow"
PROXIED = "mlflow-artifacts:/"
AT_ONCE = 100
"""Parameters, or tags, in one request; MLflow takes 1000 metrics."""
T = TypeVar("T")


class MLflow:
    """One server. Methods raise Unavailable and Refused."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def write_run(
        self,
        document: Mapping[str, Any],
        experiment: str,
        artifacts: Mapping[str, bytes],
        model: Mapping[str, Path] | None = None,
    ) -> tuple[str, tuple[str, ...]]:
        """Make the run of `mlflow_documents.run_document`, or complete it; gives its page's path, and what was left out.

        `model`: name → file of the version that it made, if they are to be there, too.
        """
        number = self._experiment(experiment)
        info = self._run(number, document)
        run = info["run_id"]
        for some in _parts(document["metrics"], 10 * AT_ONCE):
            self._post("runs/log-batch", run_id=run, metrics=some)
        for some in _parts(_pairs(document["params"]), AT_ONCE):
            self._post("runs/log-batch", run_id=run, params=some)
        for some in _parts(_pairs(document["tags"]), AT_ONCE):
            self._post("runs/log-batch", run_id=run, tags=some)
        context = [{"key": "mlflow.data.context", "value": "training"}]
        self._post("runs/log-inputs", run_id=run, datasets=[{"tags": context, "dataset": document["dataset"]}])
        files = {f"model/{name}": path for name, path in (model or {}).items()}
        notes = self._upload(info["artifact_uri"], {**artifacts, **files})
        self._post("runs/update", run_id=run, status=document["status"], end_time=document["end"])
        if document["version"]:
            self._version(document, info, "/model" if files and not notes else "")
        return f"#/experiments/{number}/runs/{run}", notes

    def look(self, experiment: str) -> None:
        """Ask for an experiment, which need not be there."""
        try:
            self._get("experiments/get-by-name", experiment_name=experiment)
        except Refused as refused:
            if refused.code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def set_aliases(self, model: str, wanted: Mapping[str, int | None]) -> tuple[str, ...]:
        """Have each alias at a version, by the registry's numbers, or nowhere; gives those whose version MLflow has not."""
        missing = []
        for alias, version in wanted.items():
            there = self._find_version(model, version) if version is not None else None
            if there is not None:
                self._post("registered-models/alias", name=model, alias=alias, version=there)
            else:
                self._remove(model, alias)
                missing += [] if version is None else [f"{alias} (version {version})"]
        return tuple(missing)

    def _experiment(self, name: str) -> str:
        for _ in range(2):
            try:
                found = self._get("experiments/get-by-name", experiment_name=name)["experiment"]
            except Refused as refused:
                if refused.code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            else:
                return str(found["experiment_id"])
            try:
                return str(self._post("experiments/create", name=name)["experiment_id"])
            except Refused as refused:
                if refused.code != "RESOURCE_ALREADY_EXISTS":  # a concurrent run was first
                    raise
        raise Refused(f"experiment {name!r} was neither found nor made", "")

    def _run(self, experiment: str, document: Mapping[str, Any]) -> dict[str, Any]:
        tag = {"key": "trainyard.run", "value": document["run"]}
        wanted = f"tags.`trainyard.run` = '{document['run']}'"
        found = self._post("runs/search", experiment_ids=[experiment], filter=wanted, max_results=1).get("runs")
        if not found:
            name = f"{document['model']} {document['run']}"
            start = document["start"]
            made = self._post("runs/create", experiment_id=experiment, start_time=start, run_name=name, tags=[tag])
            found = [made["run"]]
        info: dict[str, Any] = found[0]["info"]
        return info

    def _upload(self, uri: str, artifacts: Mapping[str, bytes | Path]) -> tuple[str, ...]:
        if not artifacts:
            return ()
        if not uri.startswith(PROXIED):
            return ("no artifacts: the server does not serve them (--serve-artifacts)",)
        root = uri.removeprefix(PROXIED).strip("/")
        for name, data in artifacts.items():
            self._server.ask("PUT", f"api/2.0/mlflow-artifacts/artifacts/{quote(f'{root}/{name}')}", data)
        return ()

    def _version(self, document: Mapping[str, Any], info: Mapping[str, Any], folder: str) -> None:
        model, number = document["model"], document["version"]["number"]
        try:
            self._post("registered-models/create", name=model)
        except Refused as refused:
            if refused.code != "RESOURCE_ALREADY_EXISTS":
                raise
        if self._find_version(model, number) is None:
            tags = _pairs({"trainyard.version": str(number), "trainyard.run": document["run"]})
            text = f"version {number} of Trainyard's registry, {document['version']['how']}"
            self._post(
                "model-versions/create", name=model, source=f"{info['artifact_uri']}{folder}", run_id=info["run_id"], tags=tags,
                description=text,
            )  # fmt: skip

    def _find_version(self, model: str, number: int) -> str | None:
        """What MLflow calls a version of the registry."""
        wanted = f"name = '{model}' and tags.`trainyard.version` = '{number}'"
        found = self._get("model-versions/search", filter=wanted).get("model_versions")
        return str(found[0]["version"]) if found else None

    def _remove(self, model: str, alias: str) -> None:
        try:
            self._server.ask("DELETE", f"{API}/registered-models/alias", {"name": model, "alias": alias})
        except Refused as refused:
            if refused.code != "RESOURCE_DOES_NOT_EXIST":  # no such model
                raise

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        return self._server.ask("POST", f"{API}/{path}", body)

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._server.ask("GET", f"{API}/{path}", query=query)


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _parts(values: Iterable[T], most: int) -> Iterable[list[T]]:
    left = iter(values)
    while some := list(islice(left, most)):
        yield some
