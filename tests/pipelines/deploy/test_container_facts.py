"""What labels say about an API's container, without an engine."""

from types import SimpleNamespace

import pytest

from pipelines.deploy.container_facts import changes, grpc_of, is_of_this_version, no_port
from pipelines.deploy.serve_job import image_for
from registry import codec
from registry.formats import formats
from registry.records import Served
from serving import kept_folders
from serving.job import PredictionLogJob, ServeJob


@pytest.mark.parametrize(
    ("labels", "same"), [({}, False), ({"formats": "other"}, False), ({"formats": formats()}, True)]
)
def test_an_api_of_another_version_is_one_that_does_not_say_that_it_reads_what_is_written_now(labels, same):
    container = SimpleNamespace(labels={f"org.trainyard.{name}": value for name, value in labels.items()})
    assert is_of_this_version(container) is same


@pytest.mark.parametrize(("taken", "setting"), [(8500, "[serving] port"), (8502, "[serving] grpc_port")])
def test_of_the_ports_that_an_engine_cannot_publish_the_right_one_is_named(taken, setting):
    said = f"Bind for 127.0.0.1:{taken} failed: port is already allocated"
    error = no_port(ServeJob("m", grpc_port=8502), said)
    assert f"port {taken} is in use" in str(error)
    assert setting in error.hint


@pytest.mark.parametrize(("published", "shown"), [([{"HostIp": "", "HostPort": "9000"}], "127.0.0.1:9000"), (None, "")])
def test_grpc_is_where_the_engine_publishes_it(published, shown, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    ports = {"8502/tcp": published}
    settings = '{"schema": 1, "model": "m", "admin_host": "127.0.0.1"}'
    listener = SimpleNamespace(labels={"org.trainyard.settings": settings}, attrs={"NetworkSettings": {"Ports": ports}})
    assert grpc_of(listener) == shown


def test_a_folder_that_was_replaced_is_a_change_as_the_container_writes_the_old_one(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    kept = PredictionLogJob(str(tmp_path / "log"), "key")
    job = ServeJob("m", prediction_log=kept, labels=str(tmp_path / "labels" / "labels.sqlite"))
    for name in ("log", "labels"):
        (tmp_path / name).mkdir()
    said = {"settings": codec.to_json(job).decode(), "formats": formats(), "kept": kept_folders.identity(job)}
    labels = {f"org.trainyard.{name}": value for name, value in said.items()}
    ports = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for port in (8500, 8501)}
    listener = SimpleNamespace(labels=labels, attrs={"NetworkSettings": {"Ports": ports}})
    container = SimpleNamespace(labels=labels)
    assert changes(job, container, listener) == {}
    (tmp_path / "labels").rename(tmp_path / "old")
    (tmp_path / "labels").mkdir()
    assert changes(job, container, listener) == {
        "kept": "the folder of the labels was removed or replaced after this API had started, which cannot reach a new one"
    }
    earlier = SimpleNamespace(labels={name: value for name, value in labels.items() if not name.endswith("kept")})
    assert changes(job, earlier, listener) == {}


@pytest.mark.parametrize(("engine", "image"), [("litert", "serve"), ("onnx", "train"), ("saved_model", "train")])
def test_only_what_litert_runs_is_served_from_the_small_image(engine, image):
    assert image_for(Served(engine, "model", "")) == image
