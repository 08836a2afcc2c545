"""A stand-in for an MLflow server: keeps runs and versions in memory, and refuses what mlflow 3.17.2 was seen to refuse.

`tests/pipelines/exports/test_mlflow_server.py` holds it and, when there is one, the real server to the same contract.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

NAME = re.compile(r"[A-Za-z0-9_\-. :/]{1,250}")
RESERVED = re.compile(r"latest|v\d+")


class No(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class FakeMLflow:
    """A server on 127.0.0.1; `say` is what it answers in place of all answers, `wait` how long it takes, `dies_after` how many requests it answers, `drips` the seconds for
    each byte of an answer."""

    def __init__(self):
        self.experiments, self.runs, self.models, self.artifacts = {}, {}, {}, {}
        self.asked, self.headers, self.say, self.wait, self.proxied = [], [], None, 0.0, True
        self.dies_after, self.drips = None, 0.0
        fake, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urlsplit(self.path)
                time.sleep(fake.wait)
                with lock:
                    fake.asked.append((self.command, url.path))
                    fake.headers.append(dict(self.headers))
                    status, data, more = fake._answer(self.command, url, body)
                with contextlib.suppress(ConnectionError):  # who asked has waited long enough
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(data)), **more}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for byte in data if fake.drips else ():
                        time.sleep(fake.drips)
                        self.wfile.write(bytes([byte]))
                    self.wfile.write(b"" if fake.drips else data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method, url, body):
        if self.say:
            return self.say
        if self.dies_after is not None and len(self.asked) > self.dies_after:
            return 503, b"", {}
        try:
            if url.path.startswith("/api/2.0/mlflow-artifacts/artifacts/") and method == "PUT":
                self.artifacts[unquote(url.path.split("/artifacts/", 1)[1])] = body
                return 200, b"", {}
            if url.path.startswith("/api/2.0/mlflow-artifacts/artifacts/"):
                return 200, self.artifacts[unquote(url.path.split("/artifacts/", 1)[1])], {}
            path = url.path.removeprefix("/api/2.0/mlflow/")
            given = json.loads(body) if body else {k: v[0] for k, v in parse_qs(url.query).items()}
            act = getattr(self, f"{method}_{path}".replace("/", "_").replace("-", "_"), None)
            if act is None:
                return 404, b"<html>Not Found</html>", {}
            return 200, json.dumps(act(**given) or {}).encode(), {}
        except No as no:
            return no.status, json.dumps({"error_code": no.code, "message": str(no)}).encode(), {}

    def _run_of(self, run_id):
        if run_id not in self.runs:
            raise No(404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found")
        return self.runs[run_id]

    def GET_experiments_get_by_name(self, experiment_name):
        if experiment_name not in self.experiments:
            raise No(404, "RESOURCE_DOES_NOT_EXIST", "Could not find experiment")
        return {"experiment": {"experiment_id": self.experiments[experiment_name], "name": experiment_name}}

    def POST_experiments_create(self, name):
        if name in self.experiments:
            raise No(400, "RESOURCE_ALREADY_EXISTS", "already exists")
        self.experiments[name] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[name]}

    def POST_runs_create(self, experiment_id, start_time, run_name, tags):
        if experiment_id not in self.experiments.values():
            raise No(404, "RESOURCE_DOES_NOT_EXIST", "No Experiment")
        run = uuid.uuid4().hex
        scheme = "mlflow-artifacts:/" if self.proxied else "s3://bucket/"
        info = {"run_id": run, "experiment_id": experiment_id, "run_name": run_name, "status": "RUNNING",
                "start_time": start_time, "artifact_uri": f"{scheme}{experiment_id}/{run}/artifacts"}  # fmt: skip
        self.runs[run] = {"info": info, "params": {}, "tags": {}, "metrics": set(), "inputs": []}
        self.POST_runs_log_batch(run, tags=tags)
        return {"run": {"info": info}}

    def POST_runs_search(self, experiment_ids, filter, max_results):  # noqa: A002  (MLflow calls it so)
        key, value = re.fullmatch(r"tags\.`(.*)` = '(.*)'", filter).groups()
        found = [
            {"info": each["info"]}
            for each in self.runs.values()
            if each["info"]["experiment_id"] in experiment_ids and each["tags"].get(key) == value
        ]
        return {"runs": found[:max_results]} if found else {}

    def POST_runs_log_batch(self, run_id, metrics=(), params=(), tags=()):
        run = self._run_of(run_id)
        for what, values, most in (("metrics", metrics, 1000), ("params", params, 100), ("tags", tags, 100)):
            if len(values) > most:
                raise No(400, "INVALID_PARAMETER_VALUE", f"at most {most} {what}")
            for each in values:
                if not NAME.fullmatch(each["key"]):
                    raise No(400, "INVALID_PARAMETER_VALUE", f"Invalid value for parameter '{what}'")
                if what != "metrics" and (not isinstance(each["value"], str) or len(each["value"]) > 6000):
                    raise No(400, "INVALID_PARAMETER_VALUE", "value is not a string, or too long")
        for each in params:
            if run["params"].get(each["key"], each["value"]) != each["value"]:
                raise No(400, "INVALID_PARAMETER_VALUE", "Changing param values is not allowed.")
        run["params"] |= {each["key"]: each["value"] for each in params}
        run["tags"] |= {each["key"]: each["value"] for each in tags}
        run["metrics"] |= {
            (each["key"], float(each["value"]), int(each["timestamp"]), int(each["step"])) for each in metrics
        }

    def POST_runs_log_inputs(self, run_id, datasets):
        run = self._run_of(run_id)
        for each in datasets:
            if len(each["dataset"]["digest"]) > 36:
                raise No(400, "INVALID_PARAMETER_VALUE", "digest: at most 36 characters")
            if each["dataset"] not in run["inputs"]:
                run["inputs"].append(each["dataset"])

    def POST_runs_update(self, run_id, status, end_time):
        if status not in {"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}:
            raise No(400, "INVALID_PARAMETER_VALUE", "status")
        self._run_of(run_id)["info"] |= {"status": status, "end_time": end_time}

    def GET_runs_get(self, run_id):
        run = self._run_of(run_id)
        names = ("key", "value", "timestamp", "step")
        newest = {}
        for each in sorted(run["metrics"], key=lambda metric: (metric[3], metric[2])):
            newest[each[0]] = dict(zip(names, each, strict=True))
        data = {what: [{"key": k, "value": v} for k, v in run[what].items()] for what in ("params", "tags")}
        inputs = {"dataset_inputs": [{"dataset": each} for each in run["inputs"]]}
        return {"run": {"info": run["info"], "data": data | {"metrics": list(newest.values())}, "inputs": inputs}}

    def GET_metrics_get_history(self, run_id, metric_key):
        found = sorted(each for each in self._run_of(run_id)["metrics"] if each[0] == metric_key)
        return {"metrics": [dict(zip(("key", "value", "timestamp", "step"), each, strict=True)) for each in found]}

    def POST_registered_models_create(self, name):
        if name in self.models:
            raise No(400, "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
        self.models[name] = {"versions": [], "aliases": {}}

    def POST_model_versions_create(self, name, source, run_id, tags, description):
        if not f"{source}/".startswith(f"{self._run_of(run_id)['info']['artifact_uri']}/"):
            raise No(400, "INVALID_PARAMETER_VALUE", "Invalid model version source")
        there = self.models[name]["versions"]
        tags = {each["key"]: each["value"] for each in tags}
        there.append({"name": name, "version": str(len(there) + 1), "run_id": run_id, "tags": tags, "source": source})
        return {"model_version": there[-1]}

    def GET_model_versions_search(self, filter):  # noqa: A002  (MLflow calls it so)
        name, key, value = re.fullmatch(r"name = '(.*)' and tags\.`(.*)` = '(.*)'", filter).groups()
        there = self.models.get(name, {"versions": []})["versions"]
        found = [each for each in there if each["tags"].get(key) == value]
        return {"model_versions": found} if found else {}

    def POST_registered_models_alias(self, name, alias, version):
        if RESERVED.fullmatch(alias):
            raise No(400, "INVALID_PARAMETER_VALUE", "reserved")
        if name not in self.models or not any(each["version"] == version for each in self.models[name]["versions"]):
            raise No(404, "RESOURCE_DOES_NOT_EXIST", "Model Version not found")
        self.models[name]["aliases"][alias] = version

    def DELETE_registered_models_alias(self, name, alias):
        if name not in self.models:
            raise No(404, "RESOURCE_DOES_NOT_EXIST", "Registered Model not found")
        self.models[name]["aliases"].pop(alias, None)

    def GET_registered_models_alias(self, name, alias):
        version = self.models[name]["aliases"].get(alias)
        if version is None:
            raise No(400, "INVALID_PARAMETER_VALUE", f"Registered model alias {alias} not found.")
        return {"model_version": next(each for each in self.models[name]["versions"] if each["version"] == version)}
