"""Servers in processes of their own, load on them, and what an answer costs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from rows import Skipped

HERE = Path(__file__).parent
CLIENTS = 16
WORKERS, THREADS = 2, 4
START_SECONDS = 120.0
WRK_SCRIPT = """
local file = assert(io.open("%s", "rb"))
wrk.method, wrk.body = "POST", file:read("*all")
%s
"""
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Server:
    """One that runs."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """CPU seconds of the process and all that it has started and that still run; 0 where there is no /proc."""
        return _cpu(self.process.pid)


@dataclass(frozen=True)
class Load:
    """What one round of load found."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of the server for one answer, in microseconds."""


@contextmanager
def serve(
    command: list[str], folder: Path, find_port: Callable[[Path], int | None], environ: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run `command` in `folder`, which may exist, until the end; its output goes to `log` there."""
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            yield Server(process, _await(process, folder, find_port))
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def api(folder: Path, **job: object) -> AbstractContextManager[Server]:
    """Our API with `job` in job.json."""
    return _ours(["-P", "-m", "serving"], folder, _api_port, job)


def empty_api(folder: Path, which: str) -> AbstractContextManager[Server]:
    """The empty route, `same` or `plain`: see empty_api.py."""
    return _ours(["-P", str(HERE / "empty_api.py"), which], folder, _port_file, {"model": "empty"})


def _ours(
    command: list[str], folder: Path, find_port: Callable[[Path], int | None], job: dict[str, object]
) -> AbstractContextManager[Server]:
    settings = {"schema": 1, "host": "127.0.0.1", "port": 0, "workers": WORKERS, "threads": THREADS} | job
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(settings), encoding="utf-8")
    return serve([sys.executable, *command], folder, find_port)


def measure_load(
    server: Server,
    seconds: float,
    body: Path,
    path: str = "/predict",
    *,
    clients: int = CLIENTS,
    headers: Mapping[str, str] = JSON,
) -> Load:
    """Load it with clients that ask one after the other on kept connections. Ends the benchmark when one is refused.

    `headers` other than those of JSON need wrk.
    """
    before = server.cpu()
    if shutil.which("wrk"):
        found, count = _wrk(server, seconds, body, path, clients, headers)
    elif headers != JSON:
        raise Skipped("needs wrk: install it (Debian: apt-get install wrk)")
    else:
        command = [
            sys.executable,
            str(HERE / "load_client.py"),
            "127.0.0.1",
            str(server.port),
            str(seconds),
            str(clients),
        ]
        found = json.loads(_output([*command, str(body), path]))
        count = found["per_second"] * (seconds + 0.5)  # with those of the half second before
    return Load(**found, cpu_us=(server.cpu() - before) / max(count, 1) * 1e6)


def _wrk(
    server: Server, seconds: float, body: Path, path: str, clients: int, headers: Mapping[str, str]
) -> tuple[dict[str, float], float]:
    script = body.with_suffix(".lua")
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script.write_text(WRK_SCRIPT % (body, lines), encoding="utf-8")
    length = f"{max(1, round(seconds))}s"
    options = ["-t1", f"-c{clients}", f"-d{length}", "--timeout", "30s", "--latency", "-s", str(script)]
    text = _output(["wrk", *options, f"{server.url}{path}"])
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"the server refused requests:\n{text}")
    found = {share: re.search(rf"{share}%\s+([\d.]+)(us|ms|s|m)\b", text) for share in (50, 99)}
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
    latency = {share: float(each[1]) * units[each[2]] for share, each in found.items() if each}
    rate, count = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"(\d+) requests in", text)
    assert rate
    assert count
    return {"per_second": float(rate[1]), "p50_ms": latency[50], "p99_ms": latency[99]}, float(count[1])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers_at(url: str) -> bool:
    """Whether a GET of that URL is answered well."""
    try:
        with urlopen(url, timeout=5):
            return True
    except (HTTPError, OSError):
        return False


def _await(process: subprocess.Popen[bytes], folder: Path, find_port: Callable[[Path], int | None]) -> int:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if port := find_port(folder):
            return port
        time.sleep(0.1)
    sys.exit(f"{folder.name} did not start:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")


def _api_port(folder: Path) -> int | None:
    try:
        url = str(json.loads((folder / "api.json").read_bytes())["url"])
    except (OSError, ValueError):
        return None
    return int(url.rpartition(":")[2]) if answers_at(f"{url}/health/ready") else None


def _port_file(folder: Path) -> int | None:
    return int((folder / "port").read_text()) if (folder / "port").exists() else None


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for each in threads for child in (each / "children").read_text().split()]
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu(int(child)) for child in children)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
