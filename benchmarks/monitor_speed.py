"""What the monitor costs: a window of 100,000 rows of 30 columns checked, and 100,000 labels joined with a million lines.

Both as `trainyard monitor` does it: a worker of its own, from its start to its result, over a log on the disk; the window lies in
Parquet, into which an earlier call has brought it. Its 30 inputs, 10 outputs, class and confidence are compared with a reference of
10,000 samples. Against Evidently's report (DataDriftPreset) of such rows and columns, read from Parquet by pandas, in a process
of its own, too (`--neighbours`): by CPU time, which says the same beside other work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bench_run import BenchRun
from rows import Row, Skipped

from pipelines.workers.jobs import MonitoredRelease, MonitorJob
from registry import codec
from registry.label_store import LabelStore
from registry.records import Signature, TensorSpec
from registry.records.labels import Label
from retraining.monitoring.calibration import calibrate
from retraining.monitoring.reference import Reference, to_bytes
from retraining.monitoring.sketches import categories, numbers
from serving.prediction_log.compact import compact
from serving.prediction_log.key import make_key
from serving.prediction_log.lines import Answered, header, lines
from serving.prediction_log.rules import make_plan
from serving.prediction_log.segments import OpenSegment, stem

ROUNDS = 5
COLUMNS, ROWS, HOLDOUT = 30, 100_000, 10_000
LINES, LABELS, BATCH = 1_000_000, 100_000, 5_000
CHECK_SECONDS, CHECK_MB, JOIN_SECONDS = 2.0, 500.0, 10.0
FASTER = 0.1
CLASSES = tuple("abcdefghij")
EVIDENTLY = """
import sys, pandas
from evidently import Report
from evidently.presets import DataDriftPreset
then, now = (pandas.read_parquet(each) for each in sys.argv[1:3])
Report([DataDriftPreset()]).run(now, then).json()
"""


def measure(run: BenchRun) -> list[Row]:
    """Seconds and memory of a window; seconds of a join; the ratio to Evidently."""
    folder = run.space("monitor")
    rows = [*_window(run, folder / "window"), *_labels(run, folder / "labels")]
    try:
        rows.append(_against_evidently(run, folder / "window"))
    except Skipped as skipped:
        run.say(f"  {skipped}")
    return rows


def _window(run: BenchRun, folder: Path) -> list[Row]:
    model, begin = _model(COLUMNS), time.time() - 7200
    random = np.random.default_rng(1)
    _write(folder, model, random, ROWS, begin, 600 / ROWS)
    job = _job(folder, _reference(folder, np.random.default_rng(2)), begin, begin + 900)
    ask(job)  # brings it into Parquet
    taken = [ask(job) for _ in range(run.rounds(ROUNDS))]
    title = f"a window of {ROWS:,} rows × {COLUMNS} inputs checked"
    raw: dict[str, object] = {"wall": [each[0] for each in taken], "cpu": [each[1] for each in taken]}
    return [
        Row(title, _median(taken, 0), "s", "", 0.0, CHECK_SECONDS, "less", raw, "value"),
        Row(f"{title}: CPU", _median(taken, 1), "s", "", 0.0, None, "less", raw, "value"),
        Row(f"{title}: memory", max(each[2] for each in taken), "MB", "", 0.0, CHECK_MB, "less", raw, "value"),
    ]


def _labels(run: BenchRun, folder: Path) -> list[Row]:
    model, begin = _model(4), time.time() - 40_000
    _write(folder, model, np.random.default_rng(3), LINES, begin, 30_000 / LINES)
    random = np.random.default_rng(4)
    chosen = np.sort(random.choice(LINES, LABELS, replace=False)).tolist()
    labels = [Label(f"r-{i}", 0, CLASSES[i % 10], None, "bench", "", "import") for i in chosen]
    with LabelStore(folder / "labels.sqlite") as store:
        store.add(labels)
    job = _job(folder, "", begin + 29_000, begin + 29_900)
    ask(job)
    taken = [ask(job) for _ in range(run.rounds(ROUNDS))]
    found = json.loads(taken[0][3])["health"][-1]
    accuracy = next(each for each in found["checks"] if each["what"] == "accuracy")
    if accuracy["rows"] < LABELS * 0.98:  # some are of lines after the window
        raise RuntimeError(f"{accuracy['rows']} of {LABELS} labels were joined")
    title = f"{LABELS:,} labels joined with {LINES:,} lines, and checked"
    raw: dict[str, object] = {"wall": [each[0] for each in taken], "cpu": [each[1] for each in taken]}
    return [
        Row(title, _median(taken, 0), "s", "", 0.0, JOIN_SECONDS, "less", raw, "value"),
        Row(f"{title}: CPU", _median(taken, 1), "s", "", 0.0, None, "less", raw, "value"),
        Row(f"{title}: memory", max(each[2] for each in taken), "MB", "", 0.0, None, "less", raw, "value"),
    ]


def _against_evidently(run: BenchRun, folder: Path) -> Row:
    python = run.neighbour("evidently")
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = []
    for name, seed, count in (("then", 2, HOLDOUT), ("now", 1, ROWS)):
        inputs, shares = _samples(_model(COLUMNS), np.random.default_rng(seed), count)
        columns: dict[str, Any] = {column: each[:, 0] for column, each in inputs.items()}
        columns |= {f"out{i}": shares[:, i] for i in range(10)}
        columns |= {"class": [CLASSES[each] for each in shares.argmax(axis=1)], "confidence": shares.max(axis=1)}
        table = pa.table(columns)
        files.append(str(folder / f"{name}.parquet"))
        pq.write_table(table, files[-1])
    job = codec.read(MonitorJob, folder / "job.json")
    ours, theirs = [], []
    for _ in range(run.rounds(3)):
        ours.append(ask(job))
        theirs.append(_ended([str(python), "-c", EVIDENTLY, *files], b""))
    raw: dict[str, object] = {"ours": [each[:3] for each in ours], "Evidently": [each[:3] for each in theirs]}
    title = f"a window of {ROWS:,} rows × {COLUMNS} inputs checked, CPU"
    return Row(title, _median(ours, 1), "s", "Evidently's report", _median(theirs, 1), FASTER, "less", raw)


def ask(job: MonitorJob) -> tuple[float, float, float, bytes]:
    """Wall and CPU seconds, megabytes and result of the worker."""
    command = [sys.executable, "-P", "-m", "pipelines.workers.monitor"]
    return _ended(command, codec.to_json(job))


def _ended(command: list[str], given: bytes) -> tuple[float, float, float, bytes]:
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(given)
        process.stdin.close()
        result = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}: {result[-300:]!r}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, result


def _median(taken: list[tuple[float, float, float, bytes]], place: int) -> float:
    return float(np.median([each[place] for each in taken]))  # type: ignore[arg-type]


def _model(columns: int) -> Any:
    inputs = tuple(TensorSpec(f"x{i}", (None, 1), "float32") for i in range(columns))
    signature = Signature("classification", "table", inputs, (TensorSpec("out", (None, 10), "float32"),), CLASSES)
    return SimpleNamespace(signature=signature, manifest=SimpleNamespace(model="m", version=1), release=1)


def _samples(model: Any, random: Any, count: int) -> tuple[dict[str, Any], Any]:
    values = random.normal(size=(count, len(model.signature.inputs))).astype(np.float32)
    sizes = np.exp(random.normal(size=(count, 10)) + 5 * (np.arange(10) == random.integers(0, 10, (count, 1))))
    shares = (sizes / sizes.sum(axis=1, keepdims=True)).astype(np.float32)
    return {each.name: values[:, [i]] for i, each in enumerate(model.signature.inputs)}, shares


def _write(folder: Path, model: Any, random: Any, rows: int, begin: float, every: float) -> None:
    """A log with requests of one row each, in Parquet."""
    make_key(folder / "key" / "secret")
    plan = make_plan(model.signature, None, {}, "features")
    segment = OpenSegment(folder / "log", stem(time.time(), "bench", 1), header(model, plan))
    for first in range(0, rows, BATCH):
        inputs, shares = _samples(model, random, BATCH)
        batch = [
            Answered(
                f"r-{first + i}", begin + (first + i) * every, "", "instances", 200, 0.001, model,
                {name: each[[i]] for name, each in inputs.items()}, 1, {"out": shares[[i]]}, shares[[i]],
            )
            for i in range(BATCH)
        ]  # fmt: skip
        segment.append(b"".join(lines(batch, plan, b"")), BATCH)
    segment.close()
    compact(folder / "log", 36_500, 10**6)


def _reference(folder: Path, random: Any) -> str:
    inputs, shares = _samples(_model(COLUMNS), random, HOLDOUT)
    sure = shares.max(axis=1)
    columns: dict[str, Any] = {f"inputs.{name}": numbers(each[:, 0]) for name, each in inputs.items()}
    columns |= {f"outputs.out[{i}]": numbers(shares[:, i]) for i in range(10)}
    columns |= {"class": categories([CLASSES[each] for each in shares.argmax(axis=1)]), "confidence": numbers(sure)}
    path = folder / "reference.npz"
    path.write_bytes(to_bytes(Reference(HOLDOUT, columns, calibrate(sure, random.random(HOLDOUT) < sure))))
    return str(path)


def _job(folder: Path, reference: str, since: float, until: float) -> MonitorJob:
    from datetime import UTC, datetime

    since_text, until_text = (datetime.fromtimestamp(each, UTC).isoformat() for each in (since, until))
    made = datetime.fromtimestamp(since - 86_400, UTC).isoformat()
    then = {"accuracy": 0.9}
    release = MonitoredRelease(1, made, 1, CLASSES, "out", "accuracy", then, 10_000, reference)
    job = MonitorJob("m", str(folder / "log"), str(folder / "labels.sqlite"), since_text, until_text, (release,))
    codec.save(job, folder / "job.json")
    return job
