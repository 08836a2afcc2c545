"""`POST /predict` with one picture as JSON, against an empty Flask route behind the same gunicorn settings."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from playground import Playground

HERE = Path(__file__).parent
CLIENTS = 16
SETTINGS = {"schema": 1, "model": "digits", "host": "127.0.0.1", "port": 0, "workers": 2, "threads": 4}
WRK_SCRIPT = """
local file = assert(io.open("%s", "rb"))
wrk.method, wrk.body = "POST", file:read("*all")
wrk.headers["Content-Type"] = "application/json"
"""


def measure_predict(playground: Playground, rounds: int, seconds: float) -> dict[str, object]:
    """Requests per second of both servers, loaded in turns: the best round of each, and the ratio of these.

    The best, because the kernel now and then gives all 16 connections to one of the two processes, of either server.
    """
    body = playground.folder / "body.json"
    body.write_text(json.dumps({"instances": [_picture(playground)]}), encoding="utf-8")
    taken: dict[str, list[dict[str, float]]] = {"predict": [], "empty": []}
    with ExitStack() as servers:
        ports = {name: servers.enter_context(_server(playground, name)) for name in taken}
        for number in range(1, rounds + 1):
            print(f"load, round {number} of {rounds} …", file=sys.stderr)
            for name, port in ports.items():
                taken[name].append(_load(port, seconds, body))
    rates = {name: [each["per_second"] for each in all_] for name, all_ in taken.items()}
    return {
        **{name: max(values) for name, values in rates.items()},
        "ratio": max(rates["predict"]) / max(rates["empty"]),
        "p50_ms": statistics.median(each["p50_ms"] for each in taken["predict"]),
        "p99_ms": statistics.median(each["p99_ms"] for each in taken["predict"]),
        "clients": CLIENTS,
        "tool": "wrk" if shutil.which("wrk") else "benchmarks/load_client.py",
        "all": taken,
    }


def _picture(playground: Playground) -> object:
    """The pixels of one picture, as a client would send them."""
    from PIL import Image

    path = min(playground.work("dataset").glob("pictures/7/*.png"))
    with Image.open(path) as image:
        level = image.tobytes()
        return [[[level[y * image.width + x]] for x in range(image.width)] for y in range(image.height)]


@contextmanager
def _server(playground: Playground, name: str) -> Iterator[int]:
    """A running server; gives its port."""
    folder = playground.folder / f"api-{name}"
    folder.mkdir()
    version = max(playground.home.glob("registry/test/digits/*/card.json")).parent
    job = SETTINGS | ({"folder": str(version)} if name == "predict" else {})
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = ["-P", "-m", "serving"] if name == "predict" else [str(HERE / "empty_api.py")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=log, stderr=log)
        try:
            yield _await(process, folder)
        finally:
            process.terminate()
            process.wait()


def _await(process: subprocess.Popen[bytes], folder: Path) -> int:
    """The port, when it answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if (folder / "port").exists():
                return int((folder / "port").read_text())
            url = json.loads((folder / "api.json").read_bytes())["url"]
            with urlopen(f"{url}/health/ready", timeout=5):
                return int(url.rpartition(":")[2])
        except (OSError, ValueError):
            time.sleep(0.1)
    sys.exit(f"the API did not start:\n{(folder / 'log').read_text()}")


def _load(port: int, seconds: float, body: Path) -> dict[str, float]:
    if shutil.which("wrk"):
        return _wrk(port, seconds, body)
    command = [sys.executable, HERE / "load_client.py", "127.0.0.1", str(port), str(seconds), str(CLIENTS), body]
    return json.loads(_output([str(each) for each in command]))


def _wrk(port: int, seconds: float, body: Path) -> dict[str, float]:
    script = body.with_suffix(".lua")
    script.write_text(WRK_SCRIPT % body, encoding="utf-8")
    length = f"{max(1, round(seconds))}s"
    url = f"http://127.0.0.1:{port}/predict"
    text = _output(["wrk", "-t1", f"-c{CLIENTS}", f"-d{length}", "--latency", "-s", str(script), url])
    if "Non-2xx" in text:
        sys.exit(f"the API refused requests:\n{text}")
    found = {share: re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", text) for share in (50, 99)}
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    latency = {share: float(each[1]) * units[each[2]] for share, each in found.items() if each}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate
    return {"per_second": float(rate[1]), "p50_ms": latency[50], "p99_ms": latency[99]}


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
