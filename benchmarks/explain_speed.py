"""`POST /predict` beside one client that asks `POST /explain` without a pause, against the same API without it, in turns.

The same 28x28 image as JSON as in predict_speed for both, 16 clients on kept connections for `/predict`. An explanation asks
the model some 500 times; each server process makes one at a time, and a second one is refused at once, so that this one
client is as much as a process can be asked for.
"""

from __future__ import annotations

import statistics
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import CLIENTS, Load, Server, api, measure_load

ROUNDS, SECONDS = 5, 3.0
LEAST_RATE, MOST_LATENCY = 0.5, 4.0


def measure(run: BenchRun) -> list[Row]:
    """Requests per second and the 99th percentile of latency (medians of the rounds) beside explanations, and alone."""
    folder = run.space("explain")
    models = write_registry(folder / "models")
    alone: list[Load] = []
    beside: list[Load] = []
    took: list[float] = []
    with api(folder / "api", model=MODEL, registry=models.url) as server:
        measure_load(server, 1.0, models.body)
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            alone.append(measure_load(server, SECONDS, models.body))
            with explaining(server, models.body, took):
                beside.append(measure_load(server, SECONDS, models.body))
    raw: dict[str, object] = {
        "alone": [asdict(each) for each in alone],
        "beside": [asdict(each) for each in beside],
        "explain_ms": took,
    }
    title = f"beside one client that asks for explanations, {CLIENTS} clients"
    rates = [statistics.median(each.per_second for each in loads) for loads in (beside, alone)]
    latencies = [statistics.median(each.p99_ms for each in loads) for loads in (beside, alone)]
    return [
        Row(f"POST /predict {title}", rates[0], "requests/s", "alone", rates[1], LEAST_RATE, "more", raw),
        Row(f"99th percentile {title}", latencies[0], "ms", "alone", latencies[1], MOST_LATENCY, "less", raw),
        Row("an explanation of an image meanwhile", statistics.median(took), "ms", "", 0.0, None, "less", raw, "value"),
    ]


@contextmanager
def explaining(server: Server, body: Path, took: list[float]) -> Iterator[None]:
    """Ask for one explanation after the other until the end."""
    ended, content = threading.Event(), body.read_bytes()

    def ask() -> None:
        while not ended.is_set():
            began = perf_counter()
            request = urllib.request.Request(f"{server.url}/explain", content, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
            took.append((perf_counter() - began) * 1000)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
