import time

import pytest
from made_once import made_once
from serving_parts import RegistryFolder, card, version_folder

from registry import codec
from serving.admin import create_admin_app
from serving.app import create_app
from serving.calls import Limits
from serving.job import ServeJob
from serving.metrics.counters import CounterTable
from serving.model import load
from serving.protocols.dialects import predictor_for
from serving.server import control


@pytest.fixture(scope="session")
def served_models(tmp_path_factory):
    """The folders that build_models.py writes, in one process with TensorFlow."""
    return made_once(tmp_path_factory, "build_models.py")


@pytest.fixture
def registry(tmp_path, served_models):
    return RegistryFolder(tmp_path, served_models)


class Holder:
    """A model that nobody swaps."""

    def __init__(self, model, error=""):
        self.current, self.error = predictor_for(model), error


@pytest.fixture(scope="session")
def loaded(served_models, tmp_path_factory):
    """Each kind of model as a worker holds it: `loaded("table")`."""
    known = {}

    def model(kind):
        if kind not in known:
            folder = version_folder(served_models / kind, tmp_path_factory.mktemp("versions") / kind)
            (folder / "card.json").write_bytes(codec.with_checksum(card(folder)))
            known[kind] = load(folder, 3, 2, tmp_path_factory.mktemp("copies"))
        return known[kind]

    return model


@pytest.fixture(scope="session")
def clients(loaded):
    """Flask's test client for a kind of model, or for a model, without gunicorn: `clients("table")`.

    Its `admin` is the one for the operator's pages.
    """

    def client(kind, max_body=1 << 20, max_instances=10, trusted_proxies=()):
        model = loaded(kind) if isinstance(kind, str) else kind
        limits, table = Limits(max_body, max_instances), CounterTable()
        app = create_app(Holder(model), "m", limits, table.counters(0), trusted_proxies=trusted_proxies)
        client = app.test_client()
        nobody = {"version": None, "release": None, "expected": 1, "workers": []}
        client.table = table
        client.admin = create_admin_app("m", table, lambda: nobody, dict).test_client()
        return client

    return client


@pytest.fixture
def start(tmp_path):
    """Starts a real API on a free port: `start(registry)` gives its URL and its folder; all are stopped at the end."""
    folders = []

    def begin(registry, **settings):
        folder = tmp_path / f"api-{len(folders)}"
        folders.append(folder)
        job = ServeJob("m", registry=registry.url, **{"port": 0, "threads": 2, **settings})
        return control.start(job, folder), folder

    yield begin
    for folder in folders:
        control.stop(folder, 5.0)


@pytest.fixture
def until():
    """Waits for something that must come true; fails after a time that is far longer than it takes."""

    def wait(true, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)
        return found

    return wait
