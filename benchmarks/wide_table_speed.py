"""`POST /predict` of a table with 2,000 columns of numbers, one row as JSON: requests per second, and CPU time per answer.

The model, a softmax over all columns, does next to nothing, so that it is the reading, the checks and the hand-over of 2,000
values that are measured: 46 KB of JSON, names and numbers. Eight clients on kept connections, two server processes, as
LiteRT serves it; a promise in itself, not against another tool.

    wide_table_speed.py FOLDER      writes the registry and the body; needs TensorFlow
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

from bench_run import BenchRun, done
from image_model import MODEL, ModelRegistry, publish
from rows import Row
from servers import api, measure_load

COLUMNS, CLASSES, CLIENTS = 2000, ("a", "b", "c"), 8
ROUNDS, SECONDS, WARM, LIMIT = 5, 4.0, 2.0, 300.0


def measure(run: BenchRun) -> list[Row]:
    """Medians of the rounds."""
    folder = run.space("wide_table_speed")
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done([sys.executable, __file__, str(folder)], env=environ)
    models = ModelRegistry(folder)
    with api(folder / "api", model=MODEL, registry=models.url) as server:
        measure_load(server, WARM, models.body, clients=CLIENTS)
        loads = [measure_load(server, SECONDS, models.body, clients=CLIENTS) for _ in range(run.rounds(ROUNDS))]
    raw: dict[str, object] = {"ours": [asdict(each) for each in loads]}
    rate, cpu = (statistics.median(getattr(each, name) for each in loads) for name in ("per_second", "cpu_us"))
    title = f"POST /predict, a row of {COLUMNS:,} columns as JSON, {CLIENTS} clients"
    limit = None if run.quick else LIMIT
    return [
        Row(title, rate, "requests/s", "", 0.0, limit, "more", raw, "value"),
        Row(f"{title}: CPU per answer", cpu, "µs", "", 0.0, None, "less", raw, "value"),
    ]


def main(folder: Path) -> None:
    """Convert, publish, release."""
    import numpy as np
    import tensorflow as tf

    from registry.records import Signature, TensorSpec
    from registry.records.names import tensor_names

    models, files = ModelRegistry(folder), folder / "files"
    files.mkdir()
    chance = np.random.default_rng(1)
    names = [f"column {i}" for i in range(COLUMNS)]
    tensors = tensor_names(names)
    module = tf.Module()
    module.weights = tf.Variable(chance.normal(0, 0.05, (COLUMNS, len(CLASSES))).astype(np.float32))
    takes = {each: tf.TensorSpec((None, 1), tf.float32, name=each) for each in tensors}

    @tf.function(input_signature=[takes])
    def serve(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        together = tf.concat([given[each] for each in tensors], axis=1)
        return {"probabilities": tf.nn.softmax(together @ module.weights)}

    module.serve = serve
    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"), signature_keys=["serving_default"])
    (files / "model.tflite").write_bytes(converter.convert())
    rows = chance.normal(size=(16, COLUMNS)).astype(np.float32)
    golden = {f"in_{i}": rows[:, i : i + 1] for i in range(COLUMNS)}
    np.savez(files / "golden.npz", out_0=np.full((16, len(CLASSES)), 1 / len(CLASSES), np.float32), **golden)
    pairs = zip(names, tensors, strict=True)
    inputs = tuple(TensorSpec(name, (None, 1), "float32", tensor_name=each) for name, each in pairs)
    answers = TensorSpec("probabilities", (None, len(CLASSES)), "float32", 0.0, 1.0)
    publish(models, files, 1, Signature("classification", "table", inputs, (answers,), CLASSES, target="y"))
    models.promote(1)
    row = {name: round(float(value), 4) for name, value in zip(names, rows[0], strict=True)}
    models.body.write_text(json.dumps({"instances": [row]}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
