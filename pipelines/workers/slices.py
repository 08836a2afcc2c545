"""The gate's metric on slices of the holdout, of the candidate and of the live release."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.workers.comparison import compare
from pipelines.workers.jobs import EvaluateJob
from registry.records import SliceMetrics
from training.metric_table import row_of
from training.metrics import Graded, Ints, take, value


def measure_slices(
    job: EvaluateJob, new: Graded, live: Graded | None, rows: Mapping[str, Ints]
) -> tuple[SliceMetrics, ...]:
    """In the order of `rows`: name of a slice → the positions of its samples. None for a metric of another task, which the
    gate rejects."""
    row = row_of(job.metric)
    if row is None or new.task not in row.tasks:
        return ()
    return tuple(_slice(job, name, take(new, each), live and take(live, each)) for name, each in rows.items())


def _slice(job: EvaluateJob, name: str, new: Graded, live: Graded | None) -> SliceMetrics:
    samples, found = len(new.truth), value(job.metric, new)
    if live is None or job.live is None:
        return SliceMetrics(name, samples, found)
    compared = compare(new, live, job.metric, job.live.version or 0, job.seed) if samples else None
    return SliceMetrics(name, samples, found, value(job.metric, live), compared)
