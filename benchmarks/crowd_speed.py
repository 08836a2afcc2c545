"""`POST /predict` while others hold connections: 500 that send nothing, and 500 that have sent half a header section.

The clients of the other benchmarks (16 on kept connections) and the same API, in turns: alone, and beside the crowd, whose
members come back whenever they are thrown out; each round beside it is longer than the time that they have. It begins when
the crowd has been let in: `wrk` counts one late answer once for each that could have come meanwhile, so that the first
sixteen would be the 99th percentile. How long a client waits behind a crowd that comes at the same moment is a row of its own.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import CLIENTS, Load, Server, api, measure_load

from serving.server.limits import HEAD_SECONDS

ROUNDS = 3
ALONE = 5.0
BESIDE = HEAD_SECONDS + 3.0
BEHIND = 5
"""How often a client comes right behind a crowd, in each round."""
IDLE = HALF = 500
LEAST_RATE, MOST_LATENCY, MOST_WAIT_MS = 0.7, 3.0, 250.0


def measure(run: BenchRun) -> list[Row]:
    """Requests per second and the 99th percentile of latency (medians of the rounds) beside the crowd, and alone."""
    folder = run.space("crowd")
    models = write_registry(folder / "models")
    alone: list[Load] = []
    beside: list[Load] = []
    behind: list[float] = []
    with api(folder / "api", model=MODEL, registry=models.url) as server:
        measure_load(server, 1.0, models.body)
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            alone.append(measure_load(server, ALONE, models.body))
            behind += [wait_behind_a_crowd(server, models.body) for _ in range(BEHIND)]
            with crowd(server):
                measure_load(server, 1.0, models.body)
                beside.append(measure_load(server, BESIDE, models.body))
    raw: dict[str, object] = {"alone": [asdict(each) for each in alone], "beside": [asdict(each) for each in beside]}
    title = f"beside {IDLE} silent and {HALF} half-sent connections, {CLIENTS} clients"
    rates = [statistics.median(each.per_second for each in loads) for loads in (beside, alone)]
    latencies = [statistics.median(each.p99_ms for each in loads) for loads in (beside, alone)]
    return [
        Row(f"POST /predict {title}", rates[0], "requests/s", "alone", rates[1], LEAST_RATE, "more", raw),
        Row(f"99th percentile {title}", latencies[0], "ms", "alone", latencies[1], MOST_LATENCY, "less", raw),
        Row(
            f"first answer to who connects right behind {IDLE + HALF} others",
            statistics.median(behind),
            "ms",
            "",
            0.0,
            MOST_WAIT_MS,
            "less",
            {"ms": behind},
            "value",
        ),
    ]


def wait_behind_a_crowd(server: Server, body: Path) -> float:
    """Milliseconds until the answer to a client that connects when so many have just done so and say nothing."""
    content = body.read_bytes()
    with ExitStack() as held:
        for _ in range(IDLE + HALF):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        began = time.perf_counter()
        good = held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        good.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        )
        if not good.recv(65536).startswith(b"HTTP/1.1 200 "):
            sys.exit("a client behind the crowd was not answered")
        took = (time.perf_counter() - began) * 1000
    time.sleep(0.5)  # until the API has seen that they have gone
    return took


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
