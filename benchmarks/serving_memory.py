"""What server processes of a model with large weights (ResNet50, 102 MB) take together: the weights should be there once.

The API with 2 and with 4 server processes, after all of their interpreters have answered. PSS counts what n processes share as a
share of 1/n each (/proc/*/smaps_rollup), so the sum is what the machine gives for them; gunicorn's master is not counted. What
they may take besides the weights is 60 MB each.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from bench_run import BenchRun
from image_model import MODEL
from larger_models import write_larger
from rows import Row
from servers import Server, api, measure_load

SECONDS, CLIENTS, EACH_MB = 6.0, 16, 60
MB = 1 << 20


def measure(run: BenchRun) -> list[Row]:
    """MB of all server processes, for two numbers of them."""
    folder = run.space("memory")
    models = write_larger("resnet50", folder / "models")
    weights = (models.folder / "files" / "model.tflite").stat().st_size / MB
    found = []
    for workers in (2, 4):
        run.say(f"  {workers} server processes")
        with api(folder / f"api-{workers}", model=MODEL, registry=models.url, workers=workers) as server:
            headers = {"Content-Type": "image/jpeg"}
            measure_load(server, SECONDS, models.folder / "body.jpg", clients=CLIENTS, headers=headers)
            time.sleep(1)
            each = [pss_mb(pid) for pid in children(server)]
        title = f"memory of {workers} server processes with ResNet50, {weights:.0f} MB of weights"
        limit = weights + workers * EACH_MB
        found.append(Row(title, sum(each), "MB", "", 0.0, limit, "less", {"each": each}, rule="value"))
    return found


def children(server: Server) -> list[int]:
    """The server processes of the API."""
    threads = Path(f"/proc/{server.process.pid}/task").iterdir()
    return [int(child) for each in threads for child in (each / "children").read_text().split()]


def pss_mb(pid: int) -> float:
    """Megabytes, with its share of what it shares; 0: it has ended."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        return int(text.partition("\nPss:")[2].split()[0]) / 1024
    return 0.0
