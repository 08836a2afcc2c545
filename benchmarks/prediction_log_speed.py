"""What keeping every answer costs: `POST /predict` with a prediction log against the same API without, in turns; and the log's
size and reading speed.

The same 28x28 image as JSON as in predict_speed, 16 clients on kept connections. The rest writes 200,000 lines of a
digits-like model with the log's own code, and reads them back; their size is scaled to ten million lines, reading to a million.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import CLIENTS, Load, api, measure_load

from registry.records import Signature, TensorSpec
from serving.prediction_log.compact import compact
from serving.prediction_log.key import make_key
from serving.prediction_log.lines import Answered, header, lines
from serving.prediction_log.rules import make_plan
from serving.prediction_log.segments import OpenSegment, stem
from serving.prediction_log.tables import read

ROUNDS, SECONDS = 7, 3.0
LEAST = 0.95
LINES, BATCH = 200_000, 50
DAY_LINES, DAY_MB = 10_000_000, 1500.0
READ_SECONDS = 5.0


def measure(run: BenchRun) -> list[Row]:
    """Requests per second with and without, CPU time per answer; bytes per line; seconds per million lines."""
    folder = run.space("prediction_log")
    models = write_registry(folder / "models")
    make_key(folder / "key" / "secret")
    log = {"folder": str(folder / "log"), "key": str(folder / "key" / "secret")}
    jobs: dict[str, dict[str, object]] = {"without": {}, "with": {"prediction_log": log}}
    taken: dict[str, list[Load]] = {name: [] for name in jobs}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(api(folder / name, model=MODEL, registry=models.url, **job))
            for name, job in jobs.items()
        }
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            for name, loads in taken.items():
                loads.append(measure_load(servers[name], SECONDS, models.body))
    raw = {name: [asdict(each) for each in loads] for name, loads in taken.items()}
    rates = {name: statistics.median(each.per_second for each in loads) for name, loads in taken.items()}
    costs = {name: statistics.median(each.cpu_us for each in loads) for name, loads in taken.items()}
    title = f"POST /predict, 28x28 as JSON, {CLIENTS} clients, every answer kept"
    return [
        Row(title, rates["with"], "requests/s", "without a prediction log", rates["without"], LEAST, "more", raw),
        Row(f"{title}: CPU per answer", costs["with"], "µs", "without", costs["without"], None, "less", raw),
        *_files(folder / "lines"),
    ]


def _files(folder: Path) -> list[Row]:
    """How large lines are, and how fast they are read: those of a digits model with ten classes."""
    outputs = (TensorSpec("out", (None, 10), "float32"),)
    inputs = (TensorSpec("image", (None, 28, 28, 1), "uint8"),)
    signature = Signature("classification", "image", inputs, outputs, tuple("0123456789"))
    model: Any = SimpleNamespace(signature=signature, manifest=SimpleNamespace(model="digits", version=3), release=2)
    plan = make_plan(signature, None, {}, "features")
    segment = OpenSegment(folder, stem(time.time(), "bench", 1), header(model, plan))
    random, now = np.random.default_rng(1), time.time()
    for first in range(0, LINES, BATCH):
        batch = [_answer(random, model, number, now) for number in range(first, first + BATCH)]
        segment.append(b"".join(lines(batch, plan, b"")), BATCH)
    path = segment.close()
    assert path
    packed = os.path.getsize(path) / LINES
    began = time.perf_counter()
    rows = sum(table.num_rows for table in read(folder))
    from_segments = (time.perf_counter() - began) * 1e6 / rows
    compact(folder, 36_500, 10**6)
    began = time.perf_counter()
    rows = sum(table.num_rows for table in read(folder))
    from_parquet = (time.perf_counter() - began) * 1e6 / rows
    promise = partial(Row, against="", theirs=0.0, better="less", rule="value")
    return [
        promise("10,000,000 lines of the prediction log, digits model", packed * DAY_LINES / 1e6, "MB", limit=DAY_MB),
        promise("1,000,000 lines of it read from Parquet", from_parquet, "s", limit=READ_SECONDS),
        promise("1,000,000 lines of it read from segments", from_segments, "s", limit=READ_SECONDS),
    ]


def _answer(random: Any, model: Any, number: int, now: float) -> Answered:
    pixels = (random.random((1, 28, 28, 1)) * 255 * (random.random((1, 28, 28, 1)) > 0.7)).astype(np.uint8)
    sizes = np.exp(random.normal(size=(1, 10)) * 2 + 7 * (np.arange(10) == random.integers(10)))
    shares = (sizes / sizes.sum()).astype(np.float32)
    at, seconds = now + number * 0.0086, 0.0003 + random.random() * 0.001
    request_id = f"c0ffee5ba11ad0be5eed-{number:x}"
    return Answered(request_id, at, "", "instances", 200, seconds, model, {"image": pixels}, 1, {"out": shares}, shares)
