"""`POST /predict` while others hold connections: 500 that send nothing, and 500 that have sent half a header section.

The clients of the other benchmarks (16 on kept connections) and the same API, in turns: alone, and beside the crowd, whose
members come back whenever they are thrown out; each round is longer than the time that they have.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import CLIENTS, Load, Server, api, measure_load

from serving.server.limits import HEAD_SECONDS

ROUNDS = 5
SECONDS = HEAD_SECONDS + 3.0
IDLE = HALF = 500
LEAST_RATE, MOST_LATENCY = 0.7, 3.0


def measure(run: BenchRun) -> list[Row]:
    """Requests per second and the 99th percentile of latency (medians of the rounds) beside the crowd, and alone."""
    folder = run.space("crowd")
    models = write_registry(folder / "models")
    alone: list[Load] = []
    beside: list[Load] = []
    with api(folder / "api", model=MODEL, registry=models.url) as server:
        measure_load(server, 1.0, models.body)
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            alone.append(measure_load(server, SECONDS, models.body))
            with crowd(server):
                beside.append(measure_load(server, SECONDS, models.body))
    raw: dict[str, object] = {"alone": [asdict(each) for each in alone], "beside": [asdict(each) for each in beside]}
    title = f"beside {IDLE} silent and {HALF} half-sent connections, {CLIENTS} clients"
    rates = [statistics.median(each.per_second for each in loads) for loads in (beside, alone)]
    latencies = [statistics.median(each.p99_ms for each in loads) for loads in (beside, alone)]
    return [
        Row(f"POST /predict {title}", rates[0], "requests/s", "alone", rates[1], LEAST_RATE, "more", raw),
        Row(f"99th percentile {title}", latencies[0], "ms", "alone", latencies[1], MOST_LATENCY, "less", raw),
    ]


@contextmanager
def crowd(server: Server) -> Iterator[None]:
    """All of them are connected meanwhile."""
    command = [sys.executable, Path(__file__).with_name("crowd_client.py"), "127.0.0.1", server.port, IDLE, HALF]
    with subprocess.Popen([str(each) for each in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            if not process.stdout.readline():
                sys.exit("the crowd could not connect")
            yield
        finally:
            process.kill()
