"""What the tests of the API share: a registry with real models in it, and a client that adds nothing of its own."""

import json
import shutil
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from versions import append_release, candidate, digests

from registry import candidates, codec, releases
from registry.records import Evaluation, Metrics, Served, Signature, utc_now
from registry.stores import open_store


class RegistryFolder:
    """A folder registry; `put` publishes one of the models of build_models.py as the next version of `model`."""

    def __init__(self, root, models):
        self.root, self._models = root, models
        self.url = f"file://{root / 'registry'}"
        self.store = open_store(self.url)
        self._runs = 0

    def put(self, kind, model="m"):
        self._runs += 1
        folder = version_folder(self._models / kind, self.root / f"files-{self._runs}")
        run = f"{self._runs:016x}"
        version = candidates.claim(self.store, model, run)
        candidates.publish(self.store, card(folder, model, version, run), folder)
        return version

    def release(self, version, model="m"):
        """Make it live; None withdraws. Gives the release's number."""
        if version is not None:
            releases.copy_to_production(self.store, model, version)
        return append_release(self.store, model, version, by="a test").number

    def file(self, version, name, model="m"):
        return self.root / "registry" / "production" / model / str(version) / name


def version_folder(source, target):
    """The files of a version as evaluation leaves them: golden samples instead of the parity file."""
    shutil.copytree(source, target)
    with np.load(target / "parity.npz") as parity:
        np.savez(target / "golden.npz", **{name: parity[name][:8] for name in parity})
    (target / "parity.npz").unlink()
    return target


def card(folder, model="m", version=1, run="0" * 16):
    signature = codec.read(Signature, folder / "signature.json")
    return candidate(
        model,
        version,
        run,
        digests(folder),
        created_at=utc_now(),
        signature=signature,
        served=codec.read(Served, folder / "served.json"),
        evaluation=Evaluation(Metrics(signature.task, 8, {})),
    )


def samples(folder):
    """Inputs by name and outputs by name, as Keras computed them."""
    signature = codec.read(Signature, Path(folder) / "signature.json")
    with np.load(Path(folder) / "parity.npz") as file:
        x = {spec.name: file[f"in_{i}"] for i, spec in enumerate(signature.inputs)}
        y = {spec.name: file[f"out_{i}"] for i, spec in enumerate(signature.outputs)}
    return x, y


class Client:
    """One kept-alive connection."""

    def __init__(self, url):
        where = urlsplit(url)
        self._connection = HTTPConnection(where.hostname, where.port, timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and the decoded body."""
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        data = response.read()
        kind = response.headers["Content-Type"] or ""
        return response.status, response.headers, json.loads(data) if kind == "application/json" else data

    def predict(self, instances, **headers):
        status, _, answer = self.ask("POST", "/predict", json.dumps({"instances": instances}), headers)
        return status, answer


def ask(url, method, path, body=None, headers=None):
    """One request on a connection of its own."""
    with Client(url) as client:
        return client.ask(method, path, body, headers)


def free_port():
    import socket

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]
