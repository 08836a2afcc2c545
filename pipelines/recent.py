"""Labelled predictions of the API that no training saw: what `[gate] recent = true` compares candidate and live release on, too.

Which they are is found here; a worker reads the prediction log, and makes arrays of what it has kept.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.config.monitoring_sections import Labelling
from pipelines.context import Context
from pipelines.deploy.serve_job import log_folder
from pipelines.runs import RunFolder
from pipelines.small_workers import ask
from pipelines.workers.jobs import MeasuredModel, RecentJob, RecentRow
from registry import codec
from registry.errors import TryAgain
from registry.files import write_whole
from registry.label_manifest import MANIFEST
from registry.label_queue import LabelQueue
from registry.label_store import LabelStore, label_file
from retraining.labels.accepted import accepted, asked
from serving.prediction_log.segments import ask_to_close
from training.fence.rules import Fence, around_python

WHAT = "the worker that reads labelled predictions"
NOBODY = "nobody has labelled a prediction yet"


def gather(context: Context, folder: RunFolder, live: MeasuredModel) -> Path:
    """A folder with the arrays, for the worker that evaluates; also when there are none, with the reason.

    Raises what the label store and the log raise when they cannot be read: TryAgain, Corrupt, ConfigError.
    """
    config = context.config
    made = folder.job("recent") / "outputs"
    made.mkdir(exist_ok=True)
    rows, committed = _labelled(label_file(Path(config.home).absolute(), config.model), config.labels)
    if not rows:
        notes = [f"{committed} left out: they are samples of the dataset"] if committed else [NOBODY]
        write_whole(made / "recent.json", json.dumps({"inputs": [], "labels": [], "notes": notes}).encode())
        return made
    try:
        ask_to_close(log_folder(config))  # the images of a segment appear when it is closed
    except TryAgain as error:
        context.progress.note(f"images of the newest predictions are not there yet: {error}")
    log, manifest = str(log_folder(config)), str(folder.sources / "dataset" / MANIFEST)
    job = RecentJob(config.model, log, manifest, str(made), live.signature, rows, committed)
    system = around_python()
    read = [*system.read, *(each for each in (log, str(Path(manifest).resolve())) if Path(each).exists())]
    fence = Fence(read=tuple(read), names=system.names, write=(str(made.resolve()),), devices=system.devices)
    found = json.loads(ask("pipelines.workers.recent", json.loads(codec.to_json(job)), WHAT, fence=fence.command()))
    context.progress.note(
        f"{found['rows']} labelled recent predictions" + "".join(f"; {each}" for each in found["notes"])
    )
    return made


def _labelled(file: Path, labelling: Labelling) -> tuple[tuple[RecentRow, ...], int]:
    """What is labelled and not a sample of the dataset; and how many others are."""
    store = LabelStore.existing(file)
    if store is None:
        return (), 0
    with store, LabelQueue(file) as queue:
        committed = {(each.request, each.row) for each in queue.committed()}
        known = list(accepted(store.all(), asked(queue.items(), labelling.numbers), labelling.labellers))
    rows = [
        RecentRow(each.request, each.row, each.label) for each in known if (each.request, each.row) not in committed
    ]
    return tuple(rows), len(known) - len(rows)
