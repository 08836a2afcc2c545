"""Versions as the registry would hold them, and the real API on one of them."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import requests
from versions import candidate, digests

from pipelines.gate import decide
from pipelines.workers.jobs import EvaluateJob, MeasuredModel
from registry import codec
from registry.files import sha256_file
from registry.records import Candidate, Evaluation, Policy, Served, Signature, utc_now
from serving.job import ServeJob
from training.data.spec import Column, DataSpec
from unit_tests.job import AcceptJob, AcceptResult

NOW = utc_now()


def samples(name):
    """Arrays in the order of the inputs, and labels that the tiny model gets right."""
    random = np.random.default_rng(4)
    if name == "thirds":
        x = random.integers(0, 150, (60, 6, 3, 2), dtype=np.uint8)
        x[np.arange(60), :, np.arange(60) % 3] += 90
        return [x.reshape(60, 6, 6, 1)], np.arange(60) % 3
    if name == "shop":
        age = np.where(np.arange(40) % 2, 70.0, 20.0).astype(np.float32)[:, None]
        return [age, np.array([["red"], ["blue"]] * 20)], np.arange(40) % 2
    a, b = random.normal(size=(2, 40, 1)).astype(np.float32)
    return [a, b], (2 * a + 3 * b)[:, 0]


def write_holdout(folder, signature, arrays, y):
    form = {"image": "images", "table": "table", "array": "npz"}[signature.kind]
    columns = [
        Column(each.name, "categorical", vocabulary=("blue", "red"))
        if each.dtype == "string"
        else Column(each.name, "numeric")
        for each in signature.inputs
    ]
    inputs = tuple(dataclasses.replace(each, low=None, high=None) for each in signature.inputs)
    spec = DataSpec(
        form,
        signature.task,
        inputs,
        signature.classes,
        tuple(columns) if form == "table" else (),
        signature.target,
        signature.image_mode,
    )
    (folder / "files").mkdir(parents=True)
    codec.save(spec, folder / "data.json")
    (folder / "names.json").write_text(json.dumps([f"sample {i}" for i in range(len(y))]))
    for i, array in enumerate(arrays):
        np.save(folder / f"x{i}.npy", array)
    np.save(folder / "y.npy", y)


def make_version(tiny_model, folder, name):
    """`folder/version` and `folder/holdout`, through the evaluate worker."""
    arrays, y = samples(name)
    signature, served = (codec.read(kind, tiny_model / f"{kind.__name__.lower()}.json") for kind in (Signature, Served))
    version, work = folder / "version", folder / "evaluate"
    write_holdout(folder / "holdout", signature, arrays, y)
    version.mkdir()
    for each in ("model.tflite", "signature.json"):
        shutil.copy(tiny_model / each, version / each)
    (work / "inputs").mkdir(parents=True)
    (work / "inputs" / "candidate").symlink_to(version)
    (work / "inputs" / "holdout").symlink_to(folder / "holdout")
    files = {"model.tflite": sha256_file(version / "model.tflite")}
    metric = "accuracy" if signature.classes else "mae"
    codec.save(EvaluateJob(metric, MeasuredModel(signature, served, files)), work / "job.json")
    run_worker("pipelines.workers.evaluate", work)
    evaluation = codec.read(Evaluation, work / "result.json")
    shutil.copytree(work / "outputs", version, dirs_exist_ok=True)
    shutil.copy(work / "result.json", version / "metrics.json")
    shutil.copy(folder / "holdout" / "data.json", version / "data.json")
    write_card(version, name, signature, served, evaluation)
    return folder


def write_card(version, model, signature, served, evaluation, number=3):
    (version / "card.json").unlink(missing_ok=True)
    card = candidate(
        model,
        number,
        "0123456789ab",
        digests(version),
        created_at=NOW,
        note="from scratch",
        signature=signature,
        served=served,
        evaluation=evaluation,
        verdict=decide(evaluation, Policy("mae" if signature.task == "regression" else "accuracy", 0.9)),
    )
    (version / "card.json").write_bytes(codec.with_checksum(card))


def run_worker(module, folder, **environment):
    """Run a worker as the product does, in its folder; its output."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", module],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "result.json").exists(), done.stdout + done.stderr
    return done.stdout


_admin_urls = {}  # of the APIs that `serve` has started, by their URL


@contextlib.contextmanager
def serve(folder, version, **settings):
    """The real API on a version, as a candidate; its URL."""
    folder.mkdir(parents=True)
    job = ServeJob(codec.read(Candidate, version / "card.json").model, folder=str(version), workers=1, threads=4)
    codec.save(dataclasses.replace(job, **settings), folder / "job.json")
    with socket.create_server(("127.0.0.1", 0)) as found, socket.create_server(("127.0.0.1", 0)) as other:
        port, admin_port = found.getsockname()[1], other.getsockname()[1]
    environment = os.environ | {"TRAINYARD_PORT": str(port), "TRAINYARD_ADMIN_PORT": str(admin_port)}
    url = f"http://127.0.0.1:{port}"
    _admin_urls[url] = f"http://127.0.0.1:{admin_port}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "serving"], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def await_ready(url):
    """Wait until the API answers; the acceptance worker does this by itself."""
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/health/ready", timeout=30).ok:
                return
        time.sleep(0.05)


class AcceptanceTest:
    """The job folder of one acceptance test."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "inputs" / "tests").mkdir(parents=True)

    def test(self, text, name="test_team.py"):
        path = self.folder / "inputs" / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def run(self, url, made, live=None, environment=None, **limits):
        inputs = {"version": made / "version", "holdout": made / "holdout", "live": live}
        for name, path in inputs.items():
            if path:
                (self.folder / "inputs" / name).symlink_to(path)
        limits = {"load_seconds": 0.3, "min_requests_per_second": 1.0, "max_p95_ms": 10_000.0} | limits
        codec.save(AcceptJob(url, _admin_urls.get(url, url), **limits), self.folder / "job.json")
        self.log = run_worker("unit_tests", self.folder, **(environment or {}))
        return codec.read(AcceptResult, self.folder / "result.json")
