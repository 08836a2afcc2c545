"""`trainyard batch` on a Parquet file of digits-like rows (64 columns of float32, and an id), against LiteRT in process.

The loop of a script: `ParquetFile.iter_batches`, the columns as NumPy arrays, one interpreter with as many threads as there
are cores, 16,384 rows per call (the quickest that was tried), the class of each row; it writes nothing. Ours reads the same
file, checks every value, predicts, and writes predictions and columns as parts with checksums; once with the id kept, once
with all columns, against the loop as it is and against one that writes the same with `ParquetWriter`. Both are timed from the first row to the last, without the start of Python; a network of 64, 128, 64
and 10 neurons, which costs less than a microsecond per row: with a slower model all that is ours matters less.

With --neighbours also `mlflow models predict` on a CSV file of such rows, with the version as Trainyard exports it, in the
MLflow's own environment: whole commands, from start to end.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from pathlib import Path

from bench_run import BenchRun, done
from rows import Row, Skipped

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "helpers"
sys.path.append(str(HELPERS))

from batch_command import facts, write_settings  # noqa: E402

ROWS, QUICK_ROWS, CSV_ROWS = 2_000_000, 100_000, 200_000
ROUNDS = 5
LEAST, MOST_MB, MLFLOW = 0.9, 300.0, 0.5
MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from batch_models import registered, table_signature
root, rows, few = Path({root!r}), {rows}, {few}
columns = [f"p{{i}}" for i in range(64)]
registered(root, table_signature(columns, [str(i) for i in range(10)], 0, 16), hidden=(128, 64))
chance = np.random.default_rng(1)
def table(start, count):
    pixels = {{each: chance.integers(0, 17, count).astype(np.float32) for each in columns}}
    return pa.table({{"id": np.arange(start, start + count)}} | pixels)
with parquet.ParquetWriter(root / "in.parquet", table(0, 1).schema) as file:
    for start in range(0, rows, 100_000):
        file.write_table(table(start, min(100_000, rows - start)))
fractions = {{each: np.round(chance.uniform(0, 16, few), 3) for each in columns}}  # MLflow takes no whole numbers for them
csv.write_csv(pa.table(fractions), root / "in.csv")
"""
THEIRS = """
import os, sys, time
import numpy as np
import pyarrow as pa
from pyarrow import parquet
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[2], num_threads=len(os.sched_getaffinity(0)))
run = interpreter.get_signature_runner("serving_default")
names, rows, writer = list(run.get_input_details()), 0, None
keep = len(sys.argv) > 3
started = time.perf_counter()
for batch in parquet.ParquetFile(sys.argv[1]).iter_batches(16384, columns=None if keep else names):
    found = run(**{name: batch.column(name).to_numpy().reshape(-1, 1) for name in names})["probabilities"]
    best = found.argmax(axis=1)
    rows += len(best)
    if keep:
        table = pa.Table.from_batches([batch]).append_column("class", pa.array(best))
        table = table.append_column("probabilities", pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), 10))
        writer = writer or parquet.ParquetWriter(sys.argv[3], table.schema)
        writer.write_table(table)
if writer:
    writer.close()
print(rows / (time.perf_counter() - started))
"""
EXPORT = """
import sys
from pathlib import Path
from pipelines.exports import mlmodel
from registry import codec
from registry.records import Candidate, Run
version, target = Path(sys.argv[1]), Path(sys.argv[2])
card = codec.read(Candidate, version / "card.json")
run = Run("0" * 12, card.model, "code", card.sources, "", None, None, card.created_at)
for name, data in mlmodel.files(run, card.signature, card.served, {"ai-edge-litert": "2.3.0"}).items():
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_bytes(data)
"""


def measure(run: BenchRun) -> list[Row]:
    """Rows per second, memory, and seconds of both commands."""
    folder, rows = run.space("batch"), QUICK_ROWS if run.quick else ROWS
    few = rows // 10 if run.quick else CSV_ROWS
    done([sys.executable, "-P", "-c", MAKE.format(helpers=str(HELPERS), root=str(folder), rows=rows, few=few)])
    write_settings(folder, f"file://{folder / 'registry'}")
    model = folder / "registry" / "production" / "digits" / "1"
    taken: dict[str, list[float]] = {"all": [], "id": [], "theirs": [], "they write": [], "mb": []}
    for number in range(1, run.rounds(ROUNDS) + 1):
        run.say(f"  round {number}")
        script = [sys.executable, "-P", "-c", THEIRS, str(folder / "in.parquet"), str(model / "model.tflite")]
        taken["theirs"].append(float(done(script)))
        taken["they write"].append(float(done([*script, str(folder / "theirs.parquet")])))
        for kept in ("all", "id"):
            facts = batch(folder, "in.parquet", *(() if kept == "all" else ("--columns", "id")))
            taken[kept].append(rows / facts["seconds"])
            taken["mb"].append(facts["peak_mb"])
    rates, limit = {name: statistics.median(each) for name, each in taken.items()}, None if run.quick else LEAST
    title = f"trainyard batch, Parquet of {rows:,} rows and 64 columns"
    against = "a loop over it with LiteRT in process, "
    raw: dict[str, object] = {**taken}
    return [
        Row(
            f"{title}, the id kept",
            rates["id"],
            "rows/s",
            f"{against}which writes nothing",
            rates["theirs"],
            limit,
            "more",
            raw,
        ),
        Row(
            f"{title}, all columns kept",
            rates["all"],
            "rows/s",
            f"{against}which writes them, too",
            rates["they write"],
            limit,
            "more",
            raw,
        ),
        Row(
            f"{title}, all columns kept",
            rates["all"],
            "rows/s",
            f"{against}which writes nothing",
            rates["theirs"],
            None,
            "more",
            raw,
        ),
        Row(f"{title}: memory of its worker", max(taken["mb"]), "MB", "", 0.0, MOST_MB, "less", raw, "value"),
        *against_mlflow(run, folder, model, few),
    ]


def batch(folder: Path, name: str, *options: str) -> dict[str, float]:
    """What one run says of itself, as JSON."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    return dict(facts(folder, "--input", name, "--output", "out", *options, timeout=3600))


def against_mlflow(run: BenchRun, folder: Path, model: Path, rows: int) -> list[Row]:
    """Both commands on the CSV file; nothing without --neighbours."""
    from bench_run import in_turns, median, raw
    from neighbours import quiet

    try:
        python = run.neighbour("mlflow-batch")
    except Skipped as skipped:
        run.say(f"  {skipped}")
        return []
    shutil.copytree(model, folder / "exported")
    done([sys.executable, "-P", "-c", EXPORT, str(model), str(folder / "exported")])
    theirs = [str(python), "-m", "mlflow", "models", "predict", "-m", str(folder / "exported"), "-t", "csv"]
    theirs += ["-i", str(folder / "in.csv"), "-o", str(folder / "theirs.json"), "--env-manager", "local"]
    environ = quiet() | {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    work = {
        "ours": lambda: batch(folder, "in.csv"),
        "theirs": lambda: done(theirs, cwd=folder, env=environ),
    }
    taken = in_turns(work, run.rounds(3))
    title = f"trainyard batch, CSV of {rows:,} rows, the whole command"
    limit = None if run.quick else MLFLOW
    return [
        Row(
            title,
            median(taken["ours"]),
            "s",
            "`mlflow models predict` on it",
            median(taken["theirs"]),
            limit,
            raw=raw(taken),
        )
    ]
