"""How often labels and answers agree: `python -P -m pipelines.workers.label_agreement`, its job as JSON on stdin.

The result is JSON on stdout; an error with an exit code is the last line, as `{"error": …, "hint": …, "exit_code": …}`.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.workers.question import answer
from registry.label_store import LabelStore
from registry.records.labels import Label
from serving.prediction_log.tables import Wanted, read

Labels = dict[tuple[str, int], Label]


def compare(log: Path, store_file: Path) -> dict[str, Any]:
    """How many labelled answers the log has, in how many the model was right, and how far numbers are off on average."""
    with LabelStore(store_file) as store:
        labels: Labels = {(each.request, each.row): each for each in store.newest()}
    requests = pa.array({request for request, _ in labels}, pa.string())
    compared = right = numbers = 0
    off = 0.0
    for table in read(log, Wanted(live=True, columns=("id", "row", "class", "outputs"))):
        ours = table.filter(pc.is_in(table["id"], value_set=requests))
        for line in ours.to_pylist():
            label = labels.pop((line["id"], line["row"]), None)  # a client that sends one id twice has two lines
            if label is None:
                continue
            if not label.value or line["class"] is not None:
                compared += 1
                right += bool(label.correct) if not label.value else label.value == line["class"]
            elif (answer := _number(line)) is not None:
                with contextlib.suppress(ValueError):
                    off += abs(answer - float(label.value))
                    numbers += 1
    return {"compared": compared + numbers, "right": right, "error": off / numbers if numbers else None}


def _number(line: dict[str, Any]) -> float | None:
    outputs = [each for each in (line.get("outputs") or {}).values() if isinstance(each, int | float)]
    return float(outputs[0]) if len(outputs) == 1 else None


if __name__ == "__main__":
    sys.exit(answer(lambda job: compare(Path(job["log"]), Path(job["labels"])), "log"))
