"""The API runs fenced: what it reads, writes and reaches. Real processes."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from plain_container import in_plain_container
from serving_parts import ask

from serving.job import ServeJob
from serving.server import control
from serving.server.fence import api_fence
from training.fence import confine

pytestmark = pytest.mark.skipif(confine.abi() < confine.SCOPE_ABI, reason="needs Landlock of Linux 6.12")
REFUSED = {"Permission denied", "Operation not permitted", "Read-only file system"}
TRIED = """
import json, os, socket, sys
from pathlib import Path
def tried(what, *arguments):
    try:
        return str(what(*arguments))
    except OSError as error:
        return error.strerror.split(" (while")[0]
home, port = Path(sys.argv[1]), int(sys.argv[2])
print(json.dumps({
    "release": tried((home / "registry/release.json").read_text),
    "newer release": tried((home / "registry/made/release.json").read_text),
    "certificate": tried((home / "tls/renewed.pem").read_text),
    "own": tried(Path("workers.json").write_text, "{}"),
    "forge": tried((home / "registry/release.json").write_text, "x"),
    "secret": tried((home / "approval.secret").read_text),
    "holdout": tried((home / "runs/1/holdout.npy").read_text),
    "certificate write": tried((home / "tls/key.pem").write_text, "x"),
    "connect": tried(socket.create_connection, ("127.0.0.1", port)),
    "another port": tried(socket.create_server, ("127.0.0.1", port + 1 if port < 65535 else 1025)),
    "docker": tried(socket.socket, socket.AF_UNIX),
    "kill": tried(os.kill, os.getppid(), 0),
    "environment": tried(Path(f"/proc/{os.getppid()}/environ").read_text),
}))
"""


@pytest.fixture
def home(tmp_path):
    for name in ("registry/release.json", "approval.secret", "runs/1/holdout.npy", "tls/key.pem", "tls/renewed.pem"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}")
    (tmp_path / "serving/digits").mkdir(parents=True)
    return tmp_path


def test_it_reads_releases_and_certificates_writes_its_folder_and_nothing_else(home):
    folder = home / "serving/digits"
    tls = {"certfile": str(home / "tls/cert.pem"), "keyfile": str(home / "tls/key.pem")}
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        job = ServeJob("digits", f"file://{home}/registry", port=8501 if port != 8501 else 8502, admin_port=8503, **tls)
        fence = api_fence(job, folder).command()
        (home / "registry/made").mkdir()  # after the fence was made up, as by a later release
        (home / "registry/made/release.json").write_text("new")
        done = subprocess.run(
            [*fence, sys.executable, "-c", TRIED, home, str(port)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    allowed = [found.pop(name) for name in ("release", "newer release", "certificate", "own")]
    assert allowed == ["text of registry/release.json", "new", "text of tls/renewed.pem", "2"]
    assert found.pop("environment") in REFUSED | {"No such file or directory"}  # other processes are not in its /proc
    assert {name: text for name, text in found.items() if text not in REFUSED} == {}


def test_the_running_api_is_fenced_in_each_of_its_processes(home):
    folder = home / "serving/digits"
    job = replace(ServeJob("digits", f"file://{home}/empty"), port=0, workers=2)
    control.start(job, folder)
    try:
        master = json.loads((folder / "api.json").read_bytes())["pid"]
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        assert workers
        for pid in (master, *workers):
            status = dict(
                line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
            )
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert (
                os.geteuid()
                or int(status["CapEff"], 16) == 1 << confine.CAP_DAC_OVERRIDE | 1 << confine.CAP_NET_BIND_SERVICE
            )
    finally:
        control.stop(folder)


@pytest.mark.slow
def test_without_mount_namespaces_it_runs_too(registry, tmp_path):
    registry.release(registry.put("price"))
    job = ServeJob("m", registry=registry.url, port=0, workers=1, threads=2)
    url = in_plain_container(control.start, job, tmp_path / "api")
    try:
        control.await_release(tmp_path / "api", 1, 20)
        assert ask(url, "GET", "/health/ready")[0] == 200
    finally:
        control.stop(tmp_path / "api", 5)
