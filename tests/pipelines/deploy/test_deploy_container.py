"""The contract of deployments, for the API as containers of a real engine; and what only containers can do."""

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from certificates import write_certificate
from cryptography import x509
from deploy_contract import Crowd, DeploymentContract
from promotion_parts import MODEL, Project, ask

from pipelines.deploy import api_containers, container_facts, open_deployment
from pipelines.deploy.serve_job import serve_job, token_file
from pipelines.docker_engine import labels
from registry.errors import ConfigError, PipelineError, WorkerFailed
from registry.label_store import LabelStore, label_file
from serving import job as serving_job
from serving.access import tokens
from serving.prediction_log.segments import ask_to_close, blocks, closed

pytestmark = [pytest.mark.tensorflow, pytest.mark.docker]


@pytest.fixture(scope="module")
def derive(engine, serve_image):
    """Makes an image of the serving image and some more lines of a Dockerfile; gives its ID. All go at the end."""
    made = []

    def build(lines):
        text = f"FROM {serve_image}\n{lines}\n"
        image, _ = engine.images.build(fileobj=io.BytesIO(text.encode()), rm=True)
        made.append(image.id)
        return image.id

    yield build
    for each in made:
        engine.images.remove(each, force=True)


@pytest.fixture
def project(tmp_path, tiny_models, serve_image):
    made = Project(tmp_path, tiny_models, workers=1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = replace(made.config.serving, deploy="docker", image=serve_image, port=port)
    made.config = replace(made.config, serving=settings)
    for kind in ("dull", "thirds", ""):
        made.publish(kind)
    yield made
    made.stop()


FOREIGN = set()  # what was on the engine before: the model's name is not ours alone


@pytest.fixture(scope="module", autouse=True)
def foreign(engine):
    FOREIGN.update(each.id for role in ("api", "listener", "probe") for each in parts(engine, role))


def parts(engine, role):
    """The containers that these tests have made for the model, whatever they do."""
    wanted = [f"{name}={value}" for name, value in labels(model=MODEL, role=role).items()]
    found = engine.containers.list(all=True, filters={"label": wanted})
    return [each for each in found if each.id not in FOREIGN]


def handoffs(engine):
    """The volumes in which listener and APIs meet."""
    mounts = [each for role in ("api", "listener") for part in parts(engine, role) for each in part.attrs["Mounts"]]
    return {each["Name"] for each in mounts if each["Destination"] == "/run/trainyard"}


def came_back(container):
    """Started again by the engine, once."""
    container.reload()
    return (container.attrs["RestartCount"], container.status) == (1, "running")


def use(project, **settings):
    project.config = replace(project.config, serving=replace(project.config.serving, **settings))


class TestContainer(DeploymentContract):
    @pytest.fixture
    def more_workers(self, project):
        return lambda: use(project, workers=2)

    def test_nothing_is_left_after_a_stop_and_nothing_of_others_is_touched(self, project, engine, serve_image):
        other = engine.containers.create(serve_image, ["true"], labels=labels(model=MODEL, home="/other", role="api"))
        try:
            project.promote(1)
            assert project.config.serving.workers == len(open_deployment(project.config).version()["workers"])
            project.stop()
            assert [each.id for each in parts(engine, "api")] == [other.id]
            assert parts(engine, "listener") == []
            mine = labels(home=project.config.home)
            assert not engine.volumes.list(filters={"label": [f"{name}={value}" for name, value in mine.items()]})
        finally:
            other.remove(force=True)

    def test_an_api_may_reach_nothing_and_write_nothing(self, project, engine, tmp_path, monkeypatch):
        (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://u:hidden@proxy:1"}}}')
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        project.promote(1)
        (api,), (listener,) = parts(engine, "api"), parts(engine, "listener")
        for container in (api, listener):
            host, config = container.attrs["HostConfig"], container.attrs["Config"]
            assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (
                True, ["ALL"], ["no-new-privileges"],
            )  # fmt: skip
            assert config["User"].partition(":")[0] not in {"", "0", "root"}
            assert host["RestartPolicy"]["Name"] == "always"
            assert host["IpcMode"] == "private"
            assert "noexec" in host["Tmpfs"]["/tmp"]
            assert "hidden" not in str(config["Env"])
            assert host["PidsLimit"] > 0
            assert host["Memory"] > 0
        assert api.attrs["HostConfig"]["NetworkMode"] == "none"
        (registry,) = [each for each in api.attrs["Mounts"] if each["Type"] == "bind"]
        assert not registry["RW"]
        code, _ = api.exec_run(["sh", "-c", f"touch {registry['Destination']}/x /x"])
        assert code != 0

    @pytest.mark.slow
    def test_what_a_container_answers_is_in_the_prediction_log_of_the_machine_with_its_labels(self, project, engine):
        project.config = replace(project.config, prediction_log=replace(project.config.prediction_log, enabled=True))
        project.promote(1)
        until(lambda: answers(project))
        folder = Path(project.config.home) / "predictions" / MODEL

        def kept():
            ask_to_close(folder)
            lines = (line for each in closed(folder) for part in blocks(each.path) for line in part.splitlines())
            return [each for each in map(json.loads, lines) if each.get("status") == 200]

        lines = until(kept)
        assert {each["release"] for each in lines} == {1}
        report = {"request_id": lines[0]["id"], "row": lines[0]["row"], "correct": True}
        answer = requests.post(f"{project.url}/feedback", json=report, timeout=30)
        assert answer.json()["added"] == 1, answer.text
        with LabelStore(label_file(Path(project.config.home), MODEL)) as store:
            assert [each.request for each in store.all()] == [lines[0]["id"]]
        (api,) = parts(engine, "api")
        writable = {each["Destination"] for each in api.attrs["Mounts"] if each["Type"] == "bind" and each["RW"]}
        assert writable == {"/predictions", "/labels"}

    def test_new_settings_and_images_lose_no_request_and_replace_the_container(self, project, engine, derive):
        project.promote(1)
        (before,) = parts(engine, "api")
        with Crowd(project.url).asking() as crowd:
            for change in ({"threads": 3}, {"image": derive("LABEL made=later")}):
                use(project, **change)
                project.rollback(1)
                crowd.more()
        (after,) = parts(engine, "api")
        assert crowd.failures == []
        assert before.id != after.id
        assert after.attrs["Image"] == project.config.serving.image
        assert project.history == [1]  # the container is another, the release is not
        assert open_deployment(project.config).changed(serve_job(project.config)) == {}

    @pytest.mark.slow
    def test_an_update_by_another_user_loses_no_request(self, project, engine, monkeypatch):
        with monkeypatch.context() as other:
            for name in ("geteuid", "getegid"):
                other.setattr(os, name, lambda: 12345)
            project.promote(1)
        (before,) = parts(engine, "api")
        assert before.attrs["Config"]["User"] == "12345:12345"
        with Crowd(project.url).asking() as crowd:
            use(project, threads=3)
            project.rollback(1)
            crowd.more()
        (after,) = parts(engine, "api")
        assert crowd.failures == []
        assert after.attrs["Config"]["User"] != "12345:12345"

    @pytest.mark.skipif(os.geteuid() != 0, reason="others run the API as themselves")
    def test_a_registry_that_only_root_may_read_is_reported_with_its_mode(self, project, engine):
        (project.folder / "registry").chmod(0o700)
        with pytest.raises(ConfigError, match=r"may not read all of the registry .* has mode 0700") as caught:
            project.promote(1)
        assert "chmod -R go+rX" in caught.value.hint
        assert (parts(engine, "listener"), parts(engine, "api")) == ([], [])

    @pytest.mark.parametrize("broken", ["image", "memory"])
    def test_a_container_that_does_not_come_up_is_reported_and_the_old_one_keeps_answering(
        self, project, engine, derive, broken
    ):
        project.promote(1)
        (before,) = parts(engine, "api")
        good = project.config
        if broken == "image":
            use(project, image=derive("ENV PATH=/nowhere"))
        else:
            project.config = replace(good, runner=replace(good.runner, memory_mb=24))
        with Crowd(project.url, 4).asking() as crowd:
            with pytest.raises(
                PipelineError, match="version 2 of thirds is live as release 2, but the API keeps its"
            ) as caught:
                project.promote(2)
            crowd.more()
        assert ("python" if broken == "image" else "ended") in str(caught.value)
        assert crowd.failures == []
        assert [each.id for each in parts(engine, "api")] == [before.id]
        assert ask(project.url)[1]["release"] == 2
        project.config = good
        assert project.promote(2, project.token(2)).number == 2

    @pytest.mark.slow
    def test_a_release_that_the_image_has_no_engine_for_is_taken_back(self, project, engine):
        """[serving] image names an image without TensorFlow, and the version needs it."""
        project.promote(1)
        version = project.publish("thirds", engine="saved_model")
        with Crowd(project.url, 4).asking() as crowd:
            with pytest.raises(WorkerFailed, match="could not be deployed") as caught:
                project.promote(version)
            crowd.more()
        assert "tensorflow" in str(caught.value).lower()
        assert crowd.failures == []
        assert project.history == [1, version, 1]
        assert len(parts(engine, "api")) == 1

    @pytest.mark.slow
    def test_what_a_killed_promotion_left_beside_the_api_goes_and_the_api_stays(self, project, engine):
        project.promote(1)
        (api,) = parts(engine, "api")
        engine.containers.create(
            api.attrs["Image"], ["true"], labels=api.labels | labels(number=7), restart_policy={"Name": "no"}
        )
        project.promote(2)
        assert [each.id for each in parts(engine, "api")] == [api.id]

    def test_what_is_killed_comes_back_and_what_a_person_stops_waits_for_the_next_command(self, project, engine):
        project.promote(1)
        for role in ("api", "listener"):
            (container,) = parts(engine, role)
            os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)
            assert until(lambda: answers(project))["release"] == 1
            assert until(lambda container=container: came_back(container))
        for role in ("api", "listener"):
            (container,) = parts(engine, role)
            container.kill()
            until(lambda: project.url is None)
            assert f"container {container.name}: exited (137)" in " ".join(open_deployment(project.config).parts())
            project.promote(1, project.token(1))
            assert until(lambda: answers(project))["release"] == 1

    def test_a_port_of_another_program_is_reported_with_the_setting(self, project):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            use(project, port=port)
            before = project.tree()
            with pytest.raises(ConfigError, match=rf"port {port} is in use \(127\.0\.0\.1:{port}\)") as caught:
                project.promote(1)
        assert "[serving] port" in caught.value.hint
        assert project.tree() == before
        assert project.promote(1).number == 1

    @pytest.mark.slow
    def test_a_model_of_the_same_name_in_another_project_is_another(self, project, tmp_path):
        project.promote(1)
        stranger = replace(
            project.config, home=str(tmp_path / "other home"), serving=replace(project.config.serving, port=0)
        )
        shutil.copytree(
            Path(project.config.home) / "keys", Path(stranger.home) / "keys"
        )  # it trusts this registry, too
        assert open_deployment(stranger).running() is None
        assert not open_deployment(stranger).stop()
        url = open_deployment(stranger).start(serve_job(stranger), "serve")
        assert url != project.url
        assert ask(url)[0] == 200
        assert open_deployment(stranger).stop()
        assert ask(project.url)[0] == 200

    def test_a_name_that_is_taken_is_reported(self, project, engine, serve_image):
        project.promote(1)
        (listener,) = parts(engine, "listener")
        project.stop()
        other = engine.containers.create(serve_image, ["true"], name=listener.name)
        try:
            with pytest.raises(
                ConfigError, match=f"{listener.name} exists on this engine, and does not belong to Trainyard"
            ) as caught:
                open_deployment(project.config).start(serve_job(project.config), "serve")
            assert f"docker rm -f {listener.name}" in str(caught.value.hint)
        finally:
            other.remove(force=True)

    def test_a_registry_that_the_engine_does_not_see_is_reported_with_the_setting(self, project, engine, monkeypatch):
        """As when Trainyard runs in a container and the engine does not: there the path is another folder, or none."""
        monkeypatch.chdir(project.folder)
        url = "file:///proc/self/cwd/registry"
        project.config = replace(project.config, registry=replace(project.config.registry, url=url))
        with pytest.raises(ConfigError, match="does not see the registry") as caught:
            open_deployment(project.config).start(serve_job(project.config), "serve")
        assert "[serving] registry_volume" in caught.value.hint
        assert parts(engine, "listener") == []

    @pytest.mark.slow
    def test_an_api_of_an_older_version_keeps_its_volume_until_it_is_stopped(self, project, engine):
        """Its listener and the containers of its updates have to meet; the role of this volume had another name."""
        project.promote(1)
        (name,) = handoffs(engine)
        assert name.endswith("-handoff")
        project.stop()
        old = f"{name.removesuffix('handoff')}door"
        options = {"type": "tmpfs", "device": "tmpfs", "o": "mode=0777,size=1m"}
        made = labels(model=MODEL, home=project.config.home, role="door")
        engine.volumes.create(old, driver="local", driver_opts=options, labels=made)
        project.promote(1, project.token(1))
        with Crowd(project.url, 4).asking() as crowd:
            use(project, threads=3)
            project.rollback(1)
            crowd.more()
        assert crowd.failures == []
        assert handoffs(engine) == {old}
        project.stop()
        assert old not in {each.name for each in engine.volumes.list()}
        project.promote(1, project.token(1))
        assert handoffs(engine) == {name}

    @pytest.mark.slow
    def test_a_registry_in_a_volume_is_served_from_there(self, project, engine, serve_image):
        name = f"trainyard-test-registry-{os.getpid()}"
        project.promote(1)
        project.stop()
        volume = engine.volumes.create(name)
        try:
            copy_into(engine, serve_image, name, project.folder / "registry")
            use(project, registry_volume=name)
            open_deployment(project.config).follow(serve_job(project.config), "serve", 1, 60)
            assert ask(project.url)[1]["release"] == 1
        finally:
            project.stop()
            volume.remove(force=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["restarted", "replaced", "stopped and started"])
    def test_a_release_from_before_the_newest_head_is_refused_by_a_new_container_too(self, project, engine, how):
        project.promote(1)
        project.promote(2)
        (api,) = parts(engine, "api")
        production = project.folder / "registry" / "production" / MODEL
        for chain in ("releases", "heads"):
            max((production / chain).iterdir()).unlink()
        deployment = open_deployment(project.config)
        if how == "restarted":
            api.restart()
        elif how == "replaced":
            api.remove(force=True)
            deployment.start(serve_job(project.config), "serve")
        else:
            deployment.stop()
            deployment.start(serve_job(project.config), "serve")
        (worker,) = until(lambda: refused(deployment))
        assert "heads/000002.json: is missing, though it was seen: release 2 was the newest" in worker["error"]
        assert worker["version"] is None

    @pytest.mark.slow
    def test_tokens_and_certificates_reach_an_engine_that_does_not_see_our_files(self, project, engine, serve_image):
        name = f"trainyard-test-registry-{os.getpid()}"
        project.promote(1)
        project.stop()
        volume = engine.volumes.create(name)
        tls = project.folder / "tls"
        try:
            copy_into(engine, serve_image, name, project.folder / "registry")
            first = write_certificate(tls)
            certificates = {"certfile": str(tls / "cert.pem"), "keyfile": str(tls / "key.pem")}
            use(project, registry_volume=name, auth="tokens", **certificates)
            path, job, deployment = (
                token_file(project.config),
                serve_job(project.config),
                open_deployment(project.config),
            )
            shop = tokens.make(path, "shop", ["predict"])
            deployment.follow(job, "serve", 1, 60)
            assert (status_of(project, shop), status_of(project, "other")) == (200, 401)
            assert served_serial(project) == first

            clerk = tokens.make(path, "clerk", ["predict"])
            tokens.revoke(path, "shop")
            second = write_certificate(tls)
            deployment.refresh(job)
            assert until(lambda: status_of(project, clerk) == 200 and status_of(project, shop) == 401)
            assert until(lambda: served_serial(project) == second)

            (api,) = parts(engine, "api")
            assert not any(secret in str(api.attrs) for secret in (shop, clerk, tokens.digest_of(clerk), "PRIVATE KEY"))
            code, listed = api.exec_run(["ls", "-ln", "/access"])
            assert (code, listed.count(b"-rw-------")) == (0, 3), listed
            assert parts(engine, "probe") == []
        finally:
            project.stop()
            volume.remove(force=True)
        assert not [
            each.name for each in engine.volumes.list() if each.name.startswith(api.name.rpartition("-api-")[0])
        ]


def refused(deployment):
    """The server processes, once they say what is wrong."""
    with contextlib.suppress(PipelineError):
        found = deployment.version()["workers"]
        return found if found and all(each["state"] == "failed" for each in found) else None


def https(project):
    """A connection that checks nothing: whose certificate it is, is looked at."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", project.config.serving.port, timeout=10, context=context)


def status_of(project, token):
    with contextlib.closing(https(project)) as client:
        client.request("GET", "/example", headers={"Authorization": f"Bearer {token}"})
        return client.getresponse().status


def served_serial(project):
    with contextlib.closing(https(project)) as client:
        client.connect()
        return x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True)).serial_number


@pytest.mark.slow
def test_the_serve_command_starts_shows_and_stops_containers(project, engine):
    settings = project.config.serving
    (project.folder / "trainyard.toml").write_text(
        f"""
model = "{MODEL}"
home = "{project.home}"
[repositories]
code = "code.git"
dataset = "dataset.git"
tests = "tests.git"
[serving]
deploy = "docker"
image = "{settings.image}"
port = {settings.port}
workers = 1
threads = 2
timeout_seconds = 5
[registry]
url = "{project.config.registry.url}"
""",
        encoding="utf-8",
    )

    def serve(*arguments):
        command = [sys.executable, "-P", "-m", "pipelines", "serve", MODEL, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
        return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)

    project.promote(1)
    project.stop()
    refused = serve()
    assert refused.returncode == 2
    assert "--background" in refused.stderr
    started = serve("--background")
    assert (started.returncode, started.stderr) == (0, "")
    assert f"release 1 at http://127.0.0.1:{settings.port}" in started.stdout
    (api,) = parts(engine, "api")
    status = serve("--status")
    assert (status.returncode, status.stderr) == (0, "")
    for what in (
        "release 1, version 1",
        "ready",
        f"docker logs {api.name}",
        f"{api.name.removesuffix('api-1')}listener: running",
    ):
        assert what in status.stdout
    api.stop()
    stopped = serve("--status").stdout
    assert "no API is running\n  container trainyard-" in stopped
    assert "-listener: running" in stopped
    assert serve("--background").returncode == 0
    assert serve("--stop").stdout == f"{MODEL}: stopped\n"
    assert serve("--stop").stdout == f"{MODEL}: no API is running\n"
    assert parts(engine, "api") + parts(engine, "listener") == []


@pytest.mark.slow
def test_an_api_of_another_version_is_replaced_before_it_gets_a_release_that_it_may_not_be_able_to_read(
    project, engine, derive, serve_image, monkeypatch
):
    old_module = "from serving.server.health import *; sys.exit(main(sys.argv[1:]))"
    old_file = f"USER 0\nRUN echo '{old_module}' >/opt/trainyard/code/serving/health.py\nUSER 65532"
    use(project, image=derive(old_file))
    with monkeypatch.context() as patch:  # its command has another name, too
        patch.setattr(api_containers, "HEALTH_CHECK", ["python", "-P", "-m", "serving.health"])
        for module in (api_containers, container_facts, serving_job):
            patch.setattr(module, "formats", lambda: "of another version")
        project.promote(1)
    (before,) = parts(engine, "api")
    use(project, image=serve_image)
    deployment, job = open_deployment(project.config), serve_job(project.config)
    assert {each["release"] for each in deployment.version()["workers"]} == {1}
    with Crowd(project.url).asking() as crowd:
        url = deployment.start(job, "serve")
        (after,) = parts(engine, "api")
    assert after.id != before.id
    assert after.attrs["Image"] == serve_image
    assert crowd.failures == []
    assert deployment.start(job, "serve") == url
    assert parts(engine, "api") == [after]


def copy_into(engine, image, volume, folder):
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(folder, ".")
    container = engine.containers.create(image, ["true"], volumes={volume: {"bind": "/to", "mode": "rw"}})
    container.put_archive("/to", archive.getvalue())
    container.remove()


def answers(project):
    """What it predicts; None as long as it does not."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        status, body = ask(project.url or "http://127.0.0.1:1")
        return body if status == 200 else None


def until(true, seconds=60.0):
    """Wait for something that must come true."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_grpc_is_published_beside_http_and_an_api_that_follows_takes_its_clients_over(project, engine):
    grpc = pytest.importorskip("grpc")
    from grpc_parts import GrpcClient

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    use(project, grpc_port=port)
    project.promote(1)
    api = open_deployment(project.config)
    assert api.grpc() == f"127.0.0.1:{port}"
    with contextlib.closing(GrpcClient(f"127.0.0.1:{port}")) as call:
        assert call("ModelMetadata", name=MODEL).versions == ["1"]
        before = {each.id for each in parts(engine, "api")}
        use(project, threads=3)
        api.update(serve_job(project.config), "serve")
        assert before.isdisjoint(each.id for each in parts(engine, "api"))
        for _ in range(3):  # its connection has ended with the API before, and one request may see that
            with contextlib.suppress(grpc.RpcError):
                found = call("ModelMetadata", name=MODEL)
        assert found.versions == ["1"]
    (container,) = parts(engine, "api")
    assert '"remote":"172.' in container.logs().decode()
    use(project, grpc_port=0)
    assert api.changed(serve_job(project.config)) == {"grpc_port": f"grpc_port {port}, not 0"}
