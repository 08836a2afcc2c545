"""Starting, stopping and asking, from the controller's side."""

import json
import os
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from serving_parts import ask

from registry import codec
from registry.errors import ConfigError, TryAgain, WorkerFailed
from registry.formats import formats
from serving import worker_status
from serving.job import ServeJob
from serving.server import control, lockfile


@pytest.fixture
def job(registry):
    registry.release(registry.put("price"))
    return ServeJob("m", registry=registry.url, port=0, workers=1, threads=2)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "api"
    control.stop(tmp_path / "api", 5)


def test_start_gives_the_url_of_what_runs_already(job, folder):
    url = control.start(job, folder)
    assert control.start(job, folder) == url
    assert control.running(folder) == url
    assert control.status(folder)["model"] == "m"


def test_settings_that_differ_from_those_of_the_running_api_are_named(job, folder):
    assert control.changed(job, folder) == {}
    url = control.start(job, folder)
    port = int(url.rpartition(":")[2])
    assert control.changed(job, folder) == control.changed(replace(job, port=port), folder) == {}
    wanted = replace(job, port=port + 1, workers=3)
    assert control.changed(wanted, folder) == {"port": f"port {port}, not {port + 1}", "workers": "workers 1, not 3"}
    assert control.start(wanted, folder) == url  # it still runs


@pytest.mark.parametrize(("name", "value"), [("registry", "file:///elsewhere"), ("model", "n")])
def test_an_api_of_something_else_is_not_taken_for_ours(job, folder, name, value):
    control.start(job, folder)
    before = (folder / "job.json").read_bytes()
    with pytest.raises(ConfigError, match=f"is another one: {name} .*, not {value}") as wrong:
        control.start(replace(job, **{name: value}), folder)
    assert "--stop" in wrong.value.hint
    assert (folder / "job.json").read_bytes() == before


def test_two_starts_at_once_give_one_api(job, folder):
    urls = []
    threads = [threading.Thread(target=lambda: urls.append(control.start(job, folder))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 2
    assert len(set(urls)) == 1


def test_stop_ends_every_process_and_can_be_repeated(job, folder, until):
    control.start(job, folder)
    control.await_release(folder, 1, 20)
    workers = [each["pid"] for each in control.status(folder)["workers"]]
    assert control.stop(folder)
    assert control.running(folder) is None
    for pid in workers:
        until(lambda pid=pid: not os.path.exists(f"/proc/{pid}"))
    assert not control.stop(folder)
    with pytest.raises(TryAgain):
        control.status(folder)


def test_an_api_that_was_killed_is_known_to_be_gone_and_can_be_started_again(job, folder, until):
    control.start(job, folder)
    control.await_release(folder, 1, 20)
    workers = [each["pid"] for each in control.status(folder)["workers"]]
    os.kill(lockfile.read(folder).pid, signal.SIGKILL)
    until(lambda: control.running(folder) is None)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))
    control.start(job, folder)
    control.await_release(folder, 1, 20)
    assert not set(workers) & {each["pid"] for each in control.status(folder)["workers"]}


def test_a_process_number_that_someone_else_has_now_is_not_taken_for_the_api(folder):
    folder.mkdir()
    lock = lockfile.acquire(folder)
    codec.save(
        lockfile.RunningApi(os.getpid(), "1", "http://127.0.0.1:1", "m", "2026-11-21T00:00:00Z"), folder / "api.json"
    )
    assert lockfile.read(folder) is None
    os.close(lock)


def test_whom_the_api_names_in_its_file_is_not_killed_in_its_place(job, folder, until):
    control.start(job, folder)
    address = folder / "api.json"
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        started = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19]
        address.write_text(json.dumps(json.loads(address.read_bytes()) | {"pid": other.pid, "started": started}))
        assert lockfile.read(folder) is None
        assert control.stop(folder)
        assert not lockfile.is_held(folder)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("name", ["api.log", "start.lock"])
def test_a_link_in_its_folder_is_not_written_through(job, folder, name):
    folder.mkdir()
    (folder / name).symlink_to(folder.parent / "profile")
    with pytest.raises(ConfigError, match=f"{name}: a symbolic link") as refused:
        control.start(job, folder)
    assert refused.value.hint == f"rm {folder / name}"
    assert not (folder.parent / "profile").exists()
    (folder / name).unlink()


@pytest.mark.parametrize(
    "says",
    [{}, {"reads_kinds": True}, {"formats": "0123456789abcdef", "what_comes_later": 1}],
    ids=lambda each: str(len(each)),
)
def test_an_api_of_another_version_gets_no_release_that_it_may_not_be_able_to_read(job, folder, says):
    control.start(job, folder)
    address = folder / "api.json"
    running = json.loads(address.read_bytes())
    assert running.pop("formats") == formats()
    address.write_text(json.dumps(running | says), encoding="utf-8")
    with pytest.raises(ConfigError, match="started by another version of Trainyard") as refused:
        control.start(job, folder)
    assert "`trainyard serve m --stop`" in refused.value.hint
    assert "started by another version of Trainyard" in control.changed(job, folder)["formats"]
    assert control.stop(folder)


def test_of_our_environment_the_api_sees_only_what_it_needs(job, folder, monkeypatch):
    secrets = ("TRAINYARD_SMTP_PASSWORD", "AWS_SECRET_ACCESS_KEY", "GITHUB_PAT", "TF_VAR_key", "TF_TOKEN_app")
    for name in (*secrets, "JENKINS_NODE_COOKIE", "BUILD_ID"):
        monkeypatch.setenv(name, "hush")
    needed = {
        "LC_ALL": "C.UTF-8", "TZ": "UTC", "TMPDIR": str(folder.parent), "CUDA_VISIBLE_DEVICES": "", "TF_NUM_X": "1",
    }  # fmt: skip
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    control.start(job, folder)
    with open(f"/proc/{lockfile.read(folder).pid}/environ", encoding="utf-8") as environment:
        seen = dict(each.split("=", 1) for each in environment.read().split("\0") if each)
    assert "hush" not in seen.values()
    assert needed.items() <= seen.items()
    assert seen["HOME"] == os.environ["HOME"]


def test_a_release_that_does_not_come_is_try_again_and_says_what_each_worker_does(job, folder):
    control.start(job, folder)
    control.await_release(folder, 1, 20)
    with pytest.raises(TryAgain, match=r"release 2 is not served .* is ready, answers with release 1"):
        control.await_release(folder, 2, 0.5)


def test_an_api_that_does_not_run_is_try_again(folder):
    folder.mkdir()
    with pytest.raises(TryAgain, match="no API is running"):
        control.await_release(folder, 1, 0.3)


def test_an_api_that_ends_by_itself_is_reported_with_its_last_line(job, folder, monkeypatch):
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--no-such-flag")
    with pytest.raises(WorkerFailed, match="no-such-flag"):
        control.start(job, folder)


def test_a_job_that_names_nothing_to_serve_is_logged_instead_of_waiting(folder):
    with pytest.raises((ConfigError, WorkerFailed)):
        control.start(ServeJob("m", port=0), folder)


def test_a_large_log_is_put_aside_after_a_start(job, folder, until):
    folder.mkdir()
    with (folder / "api.log").open("wb") as log:
        log.truncate(2 << 20)
    control.start(replace(job, log_mb=1), folder)
    until((folder / "api.log.1").exists)
    assert (folder / "api.log.1").stat().st_size >= 2 << 20
    until(lambda: 0 < (folder / "api.log").stat().st_size < 1 << 20)


def test_the_status_of_a_dead_worker_is_not_reported(tmp_path):
    worker_status.write(tmp_path, worker_status.Status(os.getpid(), "ready", 1, 1, 1))
    worker_status.write(
        tmp_path, worker_status.Status(2**22 + 1, "ready", 1, 1, 1)
    )  # above Linux' largest process number
    assert [each["pid"] for each in worker_status.read_all(tmp_path)] == [os.getpid()]


def test_a_client_that_goes_quiet_does_not_hold_a_thread_for_ever(registry, folder):
    import socket

    registry.release(registry.put("price"))
    job = ServeJob("m", registry=registry.url, port=0, workers=1, threads=1, timeout_seconds=1)
    url = control.start(job, folder)
    control.await_release(folder, 1, 20)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as quiet:
        quiet.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert ask(url, "GET", "/health/ready")[0] == 200  # the only thread does not wait
        assert quiet.recv(100).startswith(b"HTTP/1.1 408")
