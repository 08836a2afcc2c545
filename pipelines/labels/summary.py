"""`trainyard labels show`: how many answers are labelled, by whom, until when, and how often the model was right."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.deploy.serve_job import log_job
from pipelines.small_workers import ask
from registry.dataclass import dataclass
from registry.label_queue import LabelQueue, Unusable
from registry.label_store import Counts, LabelStore, label_file
from serving.prediction_log.find import Finder

WHAT = "the worker that reads the prediction log"


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is."""

    counts: Counts
    answers: int
    """Instances in the prediction log."""
    compared: int
    """Of those, with a label that says whether the answer was right."""
    right: int
    """Of those, where the model answered with that class, or was said to be right."""
    error: float | None
    """Mean absolute difference between label and answer, of numbers; None without any."""
    unusable: tuple[Unusable, ...] = ()
    """Accepted labels of which no sample of the dataset could be made, with the reason."""


def summary(config: Config) -> Summary:
    """Of the model of the config. Raises ConfigError, Corrupt, TryAgain."""
    path, job = label_file(Path(config.home).absolute(), config.model), log_job(config)
    store = LabelStore.existing(path)
    if store is None:
        return Summary(Counts(0, 0, 0, "", (), ()), Finder(job).instances(), 0, 0, None)
    with store, LabelQueue(path) as queue:
        counts, unusable = store.counts(), queue.unusable()
    found = json.loads(ask("pipelines.workers.label_agreement", {"log": job.folder, "labels": str(path)}, WHAT))
    return Summary(counts, Finder(job).instances(), found["compared"], found["right"], found["error"], unusable)
