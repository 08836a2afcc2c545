"""What HTTP adds to the model: rows per second of the API against LiteRT in a process of its own, in turns.

Two kinds of requests, each of 4 clients on kept connections: 32 images of 28x28 as one binary tensor of the Open Inference
Protocol, as Triton's client sends them, answered in binary; and one photo of 224x224 as a JPEG file to `POST /predict`, for
MobileNetV2. In process there is one interpreter of one thread per core (in_process.py), which gets the rows as an array, or
decodes the same file with Pillow. The client takes its part of the same cores, which counts against us. CPU time per row (of the
server alone) says the same with less noise on a machine that has other work.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import in_process
import numpy as np
from bench_run import BenchRun
from image_model import MODEL, SIDE, ModelRegistry, write_registry
from in_process import Alone
from larger_models import write_larger
from rows import Row
from servers import Load, api, measure_load

ROUNDS, SECONDS, CLIENTS, BATCH = 7, 3.0, 4, 32
LEAST_BINARY, LEAST_IMAGES = 0.8, 0.9


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    body: Path
    headers: dict[str, str]


def measure(run: BenchRun) -> list[Row]:
    """Rows per second of both, and what an answer costs."""
    return [*_binary(run), *_images(run)]


def _binary(run: BenchRun) -> list[Row]:
    folder = run.space("binary")
    models = write_registry(folder / "models")
    rows = np.random.default_rng(1).integers(0, 256, (BATCH, SIDE, SIDE, 1)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    head = _head(rows)
    (folder / "body").write_bytes(head + rows.tobytes())
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    asked = Asked(f"/v2/models/{MODEL}/infer", folder / "body", headers)
    loads, alone = _both(run, models, asked, (models.folder / "files-1" / "model.tflite", folder / "rows.npy"))
    title = f"V2 binary, {BATCH} images of 28x28 per request, {CLIENTS} clients"
    return _rows(title, loads, alone, BATCH, LEAST_BINARY)


def _images(run: BenchRun) -> list[Row]:
    folder = run.space("photos")
    models = write_larger("mobilenet", folder / "models")
    asked = Asked("/predict", models.folder / "body.jpg", {"Content-Type": "image/jpeg"})
    loads, alone = _both(run, models, asked, (models.folder / "files" / "model.tflite", asked.body))
    title = f"POST /predict, a JPEG of 224x224 for MobileNetV2, {CLIENTS} clients"
    return _rows(title, loads, alone, 1, LEAST_IMAGES)


def _head(rows: np.ndarray) -> bytes:
    tensor = {
        "name": "image",
        "shape": list(rows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    return json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()


def _both(
    run: BenchRun, models: ModelRegistry, asked: Asked, given: tuple[Path, Path]
) -> tuple[list[Load], list[Alone]]:
    """`given`: the model's file and the rows, in process."""
    loads: list[Load] = []
    alone: list[Alone] = []
    with api(models.folder.parent / "api", model=MODEL, registry=models.url) as server:
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  {asked.path}, round {number}")
            load = measure_load(server, SECONDS, asked.body, asked.path, clients=CLIENTS, headers=asked.headers)
            loads.append(load)
            alone.append(in_process.run(*given, SECONDS))
    return loads, alone


def _rows(title: str, loads: list[Load], alone: list[Alone], rows: int, least: float) -> list[Row]:
    raw: dict[str, object] = {"api": [asdict(each) for each in loads], "in process": [asdict(each) for each in alone]}
    ours = statistics.median(each.per_second for each in loads) * rows
    cost = statistics.median(each.cpu_us for each in loads) / rows
    theirs, their_cost = (statistics.median(getattr(each, name) for each in alone) for name in ("per_second", "cpu_us"))
    text = "LiteRT in process, a thread per core"
    return [
        Row(title, ours, "rows/s", text, theirs, least, "more", raw),
        Row(f"{title}: CPU per row", cost, "µs", text, their_cost, None, "less", raw),
    ]
