"""`POST /predict` beside one client that reports labels of its answers, against the same API without it, in turns.

The same 28x28 image as JSON as in predict_speed, every answer kept, 16 clients on kept connections for `/predict`. The client that
reports sends a label per request: 50 in a second, which are one for a hundred answers; then as fast as it gets answers. Each report
is a new one, and on the disk when it is answered.
"""

from __future__ import annotations

import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path

from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import CLIENTS, Load, Server, api, measure_load

from serving.prediction_log.key import make_key

ROUNDS, SECONDS = 5, 3.0
LEAST_RATE = 0.95
ANSWERS = 200
"""That are labelled, over and over by others: each may have a hundred labels."""
PACES = {"50 labels a second": 0.02, "labels without a pause": 0.0}
JSON = {"Content-Type": "application/json"}


def measure(run: BenchRun) -> list[Row]:
    """Requests per second (medians of the rounds) beside reports of each pace, and alone; and how long a report takes."""
    folder = run.space("feedback")
    models = write_registry(folder / "models")
    make_key(folder / "key" / "secret")
    log = {"folder": str(folder / "log"), "key": str(folder / "key" / "secret")}
    job = {"prediction_log": log, "labels": str(folder / "labels" / "labels.sqlite")}
    alone: list[Load] = []
    beside: dict[str, list[Load]] = {name: [] for name in PACES}
    took: dict[str, list[float]] = {name: [] for name in PACES}
    with api(folder / "api", model=MODEL, registry=models.url, **job) as server:
        measure_load(server, 1.0, models.body)
        reports = _reports(server, models.body)
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            alone.append(measure_load(server, SECONDS, models.body))
            for name, pause in PACES.items():
                with reporting(server, reports, pause, took[name]):
                    beside[name].append(measure_load(server, SECONDS, models.body))
    raw: dict[str, object] = {"alone": [asdict(each) for each in alone], "report_ms": took}
    raw |= {name: [asdict(each) for each in loads] for name, loads in beside.items()}
    rate = statistics.median(each.per_second for each in alone)
    return [row for name in PACES for row in _rows(name, beside[name], took[name], (rate, raw))]


def _rows(name: str, loads: list[Load], took: list[float], alone: tuple[float, dict[str, object]]) -> list[Row]:
    rate, raw = alone
    promise = LEAST_RATE if PACES[name] else None
    found = statistics.median(each.per_second for each in loads)
    return [
        Row(
            f"POST /predict beside {name}, {CLIENTS} clients", found, "requests/s", "alone", rate, promise, "more", raw
        ),
        Row(f"a report meanwhile, {name}", statistics.median(took), "ms", "", 0.0, None, "less", raw, "value"),
    ]


def _reports(server: Server, body: Path) -> Iterator[bytes]:
    """Bodies for `/feedback`, all about answers that were just given and are in the log, and none twice."""
    connection, ids = HTTPConnection("127.0.0.1", server.port, timeout=30), []
    for _ in range(ANSWERS):
        connection.request("POST", "/predict", body.read_bytes(), JSON)
        ids.append(json.loads(connection.getresponse().read())["request_id"])
    connection.close()
    time.sleep(2)  # a line is there a second after its answer
    people = (f"person {number}" for number in itertools.count())
    return (
        json.dumps({"request_id": each, "row": 0, "correct": True, "by": by}).encode() for by in people for each in ids
    )


@contextmanager
def reporting(server: Server, reports: Iterator[bytes], pause: float, took: list[float]) -> Iterator[None]:
    """Report one label after the other until the end; what each took, in ms."""
    ended, refused = threading.Event(), []

    def report() -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not ended.is_set():
            began = time.perf_counter()
            connection.request("POST", "/feedback", next(reports), JSON)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                refused.append(said)
                return
            took.append((time.perf_counter() - began) * 1000)
            ended.wait(max(0.0, pause - (time.perf_counter() - began)))
        connection.close()

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if refused:
        raise RuntimeError(f"a report was refused: {refused[0]!r:.300}")
