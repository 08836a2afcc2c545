"""A LiteRT interpreter per core in this process, each in a thread of its own, as fast as it goes: `in_process.py FILE BODY SECONDS`.

FILE is a `.tflite` file, BODY the rows as `.npy`, or an image file, which each call decodes first, as Pillow does it. The
thread writes nothing and keeps nothing. Prints rows per second and CPU time per row.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Alone:
    """What one round found."""

    per_second: float
    cpu_us: float
    """CPU time for one row, in microseconds."""


def run(model: Path, body: Path, seconds: float) -> Alone:
    """One round, in a process of its own."""
    command = [sys.executable, __file__, str(model), str(body), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"LiteRT in process ended with {done.returncode}:\n{done.stderr}")
    return Alone(**json.loads(done.stdout))


def main(model: Path, body: Path, seconds: float) -> None:
    """Warm up with one call per thread, then count."""
    read = _reader(body)
    rows, counts = len(read()), [0] * len(os.sched_getaffinity(0))
    warm, until = threading.Barrier(len(counts) + 1), [0.0]

    def work(number: int) -> None:
        call = _open(model)
        call(read())
        warm.wait()
        while time.perf_counter() < until[0]:
            call(read())
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(counts))]
    for each in threads:
        each.start()
    until[0] = time.perf_counter() + 3600
    warm.wait()
    began, cpu = time.perf_counter(), time.process_time()
    until[0] = began + seconds
    for each in threads:
        each.join()
    answered = sum(counts) * rows
    cost = (time.process_time() - cpu) / answered * 1e6
    print(json.dumps({"per_second": answered / (time.perf_counter() - began), "cpu_us": cost}))


def _open(model: Path) -> Callable[[Any], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    return lambda rows: runner(**{name: rows})


def _reader(body: Path) -> Callable[[], Any]:
    if body.suffix == ".npy":
        rows = np.load(body)
        return lambda: rows
    from PIL import Image

    data = body.read_bytes()

    def decode() -> Any:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), np.float32)[None]

    return decode


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
