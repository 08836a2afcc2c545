"""Scripts for the real clients of other systems, which have a Python of their own: `.ci/clients` makes it."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("TRAINYARD_TEST_CLIENTS") or HERE.parents[2] / "build" / "clients" / "bin" / "python")


def run(script, *arguments):
    """What the script prints; skips where there are no clients, unless TRAINYARD_TEST_CLIENTS promises them."""
    return _run("-P", HERE / script, *arguments)


def module(name, *arguments, cwd=None):
    """What a module of theirs prints."""
    return _run("-m", name, *arguments, cwd=cwd)


@contextmanager
def mlflow(folder, *arguments):
    """`mlflow ARGUMENTS` as a server on a free port, in an empty `folder`, once it answers: its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [_python(), "-W", "ignore", "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)]
    path = f"{_python().parent}:{os.environ['PATH']}"  # it starts `uvicorn`
    given = os.environ | {"PATH": path, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=given, start_new_session=True, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if server.poll() is not None or _is_up(url):
                break
            time.sleep(0.2)
        assert _is_up(url), (folder / "log").read_text()[-3000:]
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _is_up(url):
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


def _run(*arguments, cwd=None):
    done = subprocess.run([_python(), *arguments], capture_output=True, text=True, timeout=180, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _python():
    if not PYTHON.exists():
        if os.environ.get("TRAINYARD_TEST_CLIENTS"):
            pytest.fail(f"{PYTHON} is missing: run .ci/clients")
        pytest.skip("no clients of other systems: run .ci/clients")
    return PYTHON
