"""`POST /predict` for a model that gains by batches, with 64 clients: the same API with `[serving] batch_ms` as it is by
default, and with 0, in turns.

One row of 64 numbers as JSON per request, each client one after the other on a kept connection; the model is a network of 34 MB
of weights (larger_models.py), so that a call for one row takes about as long as one for eight. Both have two server processes;
without batches each answers four requests at once, as a default API does.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import asdict

from bench_run import BenchRun
from image_model import MODEL
from larger_models import write_larger
from rows import Row
from servers import Load, api, measure_load

ROUNDS, SECONDS, CROWD = 7, 3.0, 64
LEAST = 3.0
JOBS: dict[str, dict[str, object]] = {"without": {"batch_ms": 0.0}, "with": {}}


def measure(run: BenchRun) -> list[Row]:
    """Requests per second, the slowest of a hundred, and CPU time per answer, with and without."""
    folder = run.space("batching")
    models = write_larger("wide", folder / "models")
    taken: dict[str, list[Load]] = {name: [] for name in JOBS}
    alone: dict[str, list[Load]] = {name: [] for name in JOBS}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(api(folder / name, model=MODEL, registry=models.url, **job))
            for name, job in JOBS.items()
        }
        for _ in range(run.rounds(ROUNDS)):  # before the crowds, who leave requests behind that nobody awaits any more
            for name, server in servers.items():
                alone[name].append(measure_load(server, 1.0, models.body, clients=1))
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            for name, server in servers.items():
                taken[name].append(measure_load(server, SECONDS, models.body, clients=CROWD))
    raw = {name: [asdict(each) for each in loads] for name, loads in taken.items()}
    raw_alone = {name: [asdict(each) for each in loads] for name, loads in alone.items()}
    title = f"POST /predict, a model of 34 MB, {CROWD} clients, in batches"
    found = {
        key: {name: _median(loads, key) for name, loads in taken.items()} for key in ("per_second", "p99_ms", "cpu_us")
    }
    lone = {name: _median(loads, "p50_ms") for name, loads in alone.items()}
    rate, slow, cpu = found["per_second"], found["p99_ms"], found["cpu_us"]
    return [
        Row(title, rate["with"], "requests/s", "without", rate["without"], LEAST, "more", raw),
        Row(f"{title}: 99th percentile", slow["with"], "ms", "without", slow["without"], None, "less", raw),
        Row(f"{title}: CPU per answer", cpu["with"], "µs", "without", cpu["without"], None, "less", raw),
        Row(
            "the same, one client: median answer",
            lone["with"],
            "ms",
            "without",
            lone["without"],
            None,
            "less",
            raw_alone,
        ),
    ]


def _median(loads: list[Load], name: str) -> float:
    return statistics.median(getattr(each, name) for each in loads)
