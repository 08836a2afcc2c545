"""`trainyard serve`, as a person types it."""

import json
import os
import subprocess
import sys
from contextlib import closing
from socket import create_server

import pytest
from plain_container import in_plain_container
from serving_parts import ask
from versions import append_release

from pipelines.commands import serve
from registry import releases
from registry.errors import WorkerFailed
from serving.server import control
from training.fence import confine


@pytest.fixture
def trainyard(registry, tmp_path):
    """Runs `trainyard serve …` for the model `m` of the registry."""
    (tmp_path / "trainyard.toml").write_text(
        f"""
model = "m"
[repositories]
code = "code.git"
dataset = "dataset.git"
tests = "tests.git"
[serving]
workers = 1
threads = 2
port = 0
[registry]
url = "{registry.url}"
require_signatures = false
""",
        encoding="utf-8",
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}

    def run(*arguments):
        command = [sys.executable, "-P", "-m", "pipelines", "serve", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    yield run
    control.stop(tmp_path / ".trainyard" / "serving" / "m", 5)


def test_background_status_and_stop(trainyard, registry):
    registry.release(registry.put("price"))
    started = trainyard("m", "--background")
    assert started.returncode == 0, started.stderr
    line = started.stdout.splitlines()[-1].removeprefix("try: ")
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["release"] == 1
    found = json.loads(trainyard("m", "--status", "--json").stdout)
    assert (found["release"], [each["state"] for each in found["workers"]]) == (1, ["ready"])
    assert trainyard("m", "--stop").stdout == "m: stopped\n"
    stopped = trainyard("m", "--status")
    assert (stopped.returncode, stopped.stdout) == (3, "m: no API is running\n"), "as systemctl status"
    stopped = trainyard("m", "--status", "--json")
    assert (stopped.returncode, json.loads(stopped.stdout)) == (3, {"url": None, "parts": [], "changed": {}})
    again = trainyard("m", "--stop")
    assert (again.returncode, again.stdout) == (0, "m: no API is running\n"), "it is as was asked for"


def test_other_settings_than_the_running_ones_are_reported_and_it_keeps_running(trainyard, registry, tmp_path):
    registry.release(registry.put("price"))
    assert trainyard("m", "--background").stderr == ""
    url = control.running(tmp_path / ".trainyard" / "serving" / "m")
    again = trainyard("m", "--background", "--workers", "2")
    assert (again.returncode, f"release 1 at {url}" in again.stdout) == (0, True)
    assert again.stderr == (
        "the API runs with other settings (workers 1, not 2): `trainyard serve m --stop`, then start it again\n"
    )
    assert "workers" not in trainyard("m", "--status").stderr
    found = trainyard("m", "--status", "--json", "--set", "serving.threads=3")
    assert json.loads(found.stdout)["changed"] == {"threads": "threads 2, not 3"}
    assert "the API runs with other settings (threads 2, not 3)" in found.stderr


def test_the_status_names_a_live_release_that_no_worker_serves(trainyard, registry, tmp_path):
    registry.release(registry.put("price"))
    trainyard("m", "--background", "--json")
    assert "but release" not in trainyard("m", "--status").stdout
    damaged = registry.put("digits")
    releases.copy_to_production(registry.store, "m", damaged)
    with registry.file(damaged, "golden.npz").open("ab") as file:
        file.write(b"altered")
    append_release(registry.store, "m", damaged, after=1)
    with pytest.raises(WorkerFailed):
        control.await_release(tmp_path / ".trainyard" / "serving" / "m", 2, 20)
    status = trainyard("m", "--status")
    assert f"but release 2 makes version {damaged} live: 1 of 1 server processes do not follow" in status.stdout
    found = json.loads(trainyard("m", "--status", "--json").stdout)
    assert (found["release"], found["newest"]) == (1, 2)
    assert "answers with release 1" in found["behind"][0]


FACTS = {
    "url": "http://127.0.0.1:8500",
    "admin": "http://127.0.0.1:9500",
    "grpc": "127.0.0.1:9502",
    "model": "m",
    "release": 3,
    "version": 2,
    "card": "c" * 64,
    "expected": 2,
    "workers": [{"pid": 17, "state": "ready", "wanted": 4, "release": 3, "error": "the disk is away"}],
    "registry_error": "",
    "newest": 4,
    "newest_version": 5,
    "behind": ["server process 17 is ready, answers with release 3"],
    "cut_off": False,
    "changed": {"threads": "threads 2, not 3"},
    "unfenced": ("modes of files",),
    "parts": ["not fenced: this kernel cannot keep the API from modes of files", "log: /home/serving/m/api.log"],
}


def test_the_words_of_the_status_say_what_its_json_says():
    text = "\n".join(serve._in_words("m", FACTS))
    assert text == (
        "m: http://127.0.0.1:8500, release 3, version 2; log: /home/serving/m/api.log\n"
        "  for operators: http://127.0.0.1:9500/status, http://127.0.0.1:9500/metrics\n"
        "  over gRPC: 127.0.0.1:9502\n"
        "  not fenced: this kernel cannot keep the API from modes of files\n"
        "  server process 17: ready, release 3: the disk is away\n"
        "  1 of 2 server processes are up\n"
        "  but release 4 makes version 5 live: 1 of 1 server processes do not follow"
    )
    cut_off = serve._in_words("m", FACTS | {"cut_off": True})[-1]
    assert cut_off.startswith("  `trainyard serve m --stop`, then `trainyard serve m --background`")
    away = serve._in_words("m", FACTS | {"registry_error": "no answer", "newest": None, "behind": []})
    assert "  whether there is a newer release is not known: no answer" in away
    assert "release 4" not in "\n".join(away)


def test_foreground_runs_until_ctrl_c(trainyard, registry, tmp_path, until):
    registry.release(registry.put("price"))
    folder = tmp_path / ".trainyard" / "serving" / "m"
    command = [sys.executable, "-P", "-m", "pipelines", "serve", "m", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        url = until(lambda: control.running(folder))
        control.await_release(folder, 1, 20)
        assert ask(url, "GET", "/health/ready")[0] == 200
        again = trainyard("m")
        assert again.returncode == 2
        assert f"is already running at {url}" in again.stderr
        process.send_signal(2)
        assert process.wait(30) == 0
    assert control.running(folder) is None


def test_nothing_live_is_reported_with_the_next_action(trainyard, registry):
    done = trainyard("m")
    assert done.returncode == 2
    assert "no version of m is live" in done.stderr
    assert "trainyard run code" in done.stderr
    registry.put("price")
    done = trainyard("m", "--background")
    assert done.returncode == 2
    assert "promote a candidate first" in done.stderr


def test_a_port_in_use_is_exit_2_and_names_the_setting(trainyard, registry):
    registry.release(registry.put("price"))
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        for more in ((), ("--background",)):
            done = trainyard("m", "--port", port, *more)
            assert done.returncode == 2
            assert f"port {port} is in use" in done.stderr
            assert "[serving] port" in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("n",), "is about model 'm', not 'n'"),
        (("m", "--port", "99999"), "99999 is not a port"),
        (("m", "--workers", "0"), "0 is too few"),
    ],
)
def test_wrong_arguments_are_reported(trainyard, arguments, said):
    done = trainyard(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("how", ["--background", "--json"])  # the latter: in the foreground
def test_beyond_loopback_nothing_is_started_without_tokens_or_a_word(trainyard, registry, tmp_path, how):
    registry.release(registry.put("price"))
    done = trainyard("m", "--host", "0.0.0.0", how)
    assert done.returncode == 2
    assert "can be reached from other machines" in done.stderr
    assert "open = true" in done.stderr
    assert not (tmp_path / ".trainyard" / "serving" / "m" / "job.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(confine.abi() < confine.SCOPE_ABI, reason="needs Landlock of Linux 6.12")
class TestWhereTheKernelCannotFenceItInEveryRespect:
    WHAT = "not fenced: this kernel cannot keep the API from modes of files"

    def test_it_says_so_in_its_log_and_its_status(self, trainyard, registry, tmp_path):
        registry.release(registry.put("price"))
        assert in_plain_container(trainyard, "m", "--background").returncode == 0
        assert in_plain_container(trainyard, "m", "--status").stdout.count(self.WHAT) == 1
        found = json.loads(in_plain_container(trainyard, "m", "--status", "--json").stdout)
        assert "modes of files" in found["unfenced"]
        log = (tmp_path / ".trainyard" / "serving" / "m" / "api.log").read_text()
        assert log.count(self.WHAT) == 1

    @pytest.mark.parametrize("how", [[], ["--background"]])
    def test_it_does_not_start_where_fences_are_required(self, trainyard, registry, tmp_path, how):
        registry.release(registry.put("price"))
        with (tmp_path / "trainyard.toml").open("a") as config:
            config.write("[runner]\nrequire_fence = true\n")
        done = in_plain_container(trainyard, "m", *how)
        assert done.returncode == 2
        assert "the API of m: [runner] require_fence: this kernel cannot fence modes of files" in done.stderr
        assert control.running(tmp_path / ".trainyard" / "serving" / "m") is None
        assert how == [] or trainyard("m", *how).returncode == 0  # here it can


def test_where_operators_ask_is_shown(trainyard, registry, tmp_path):
    registry.release(registry.put("price"))
    trainyard("m", "--background")
    admin = control.admin(tmp_path / ".trainyard" / "serving" / "m")
    assert f"for operators: {admin}/status, {admin}/metrics" in trainyard("m", "--status").stdout
    assert json.loads(trainyard("m", "--status", "--json").stdout)["admin"] == admin


def test_status_says_by_what_releases_are_verified_and_that_nothing_is():
    process = {"pid": 7, "state": "ready", "release": 1, "error": ""}
    workers = [{**process, "verified": "not verified: the registry is not signed"}, {**process, "pid": 8}]
    facts = {"url": "http://x", "release": 1, "version": 1, "admin": "", "grpc": "", "parts": ["log: l"], "expected": 2}
    facts |= {"workers": workers, "cut_off": False, "behind": [], "registry_error": ""}
    said = serve._in_words("m", facts)
    assert said[1] == "  the registry's records are not verified: the registry is not signed"
    assert len(said) == 4, "an API of an earlier version does not say"
