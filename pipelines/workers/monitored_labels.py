"""Labels, and the predictions that they are about: joined by request and row, and what they say of quality. Loads pyarrow.

Labels come late. So what is checked is not one window's rows, but the answers whose labels have come in since the last look,
whenever they were given; and the newest labelled ones in a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.workers.jobs import MonitoredRelease, MonitorJob
from registry.label_store import LabelStore
from registry.records.labels import Label
from registry.records.monitoring import Check, Window
from retraining.monitoring import health
from retraining.monitoring.quality import FEWEST, Labelled, measure, wrong
from retraining.monitoring.sequences import page_hinkley
from serving.prediction_log.tables import Wanted, header_of, read
from training.metric_table import needs_probabilities

MOST_LINES = 2_000_000
"""Of the release, the newest so many are looked through for the requests that labels name."""
MOST_LABELLED = 20_000
"""The newest labelled answers by which the sequence of errors is followed."""
AT_LEAST = 100
"""Where fewer labels have come in since the last look, the newest earlier ones count, too."""
RISE = 0.05
"""Of the error rate, which the sequence of errors is to find where `max_drop` is not a share."""
SHARES = frozenset({"accuracy", "macro_f1"})
STEP = timedelta(days=1)
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Joined:
    """Labelled answers of one release, in the order of their time; the arrays have shape (rows,)."""

    labelled: Labelled
    times: NDArray[np.int64]
    """Milliseconds since 1970."""
    fresh: NDArray[np.bool_]
    """Whether its newest label came in since the last look."""
    complete: bool
    """Whether every line of the release was looked through, as long as labels were missing."""

    def between(self, window: Window) -> int:
        """How many of a window's rows are labelled."""
        since, until = (round(datetime.fromisoformat(each).timestamp() * 1000) for each in (window.since, window.until))
        return int(((self.times >= since) & (self.times < until)).sum())


@dataclass(frozen=True, slots=True)
class LabelChecks:
    """What labels say of the release of the newest window."""

    windows: tuple[Window, ...]
    """With the number of labelled rows."""
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def check_labels(job: MonitorJob, windows: Sequence[Window]) -> LabelChecks:
    """`windows`: all of this call, the oldest first. Raises Corrupt, TryAgain, ConfigError for the label store."""
    newest = windows[-1]
    release = next((each for each in job.releases if each.number == newest.release), None)
    store = LabelStore.existing(Path(job.labels)) if job.labels else None
    if store is None:
        return LabelChecks(tuple(windows), notes=("nobody has labelled an answer yet: quality is not measured",))
    with store:
        if release is None or not release.then:
            why = f"nothing is known of the version of release {newest.release}, so that its labels are not looked at"
            return LabelChecks(tuple(windows), notes=(why,))
        until = datetime.fromisoformat(newest.until)
        joined = join(Path(job.log), store, release, windows[0].since, until, job.keep_days)
    if joined is None:
        why = f"no label for an answer of release {release.number} has come in since {windows[0].since}"
        return LabelChecks(tuple(windows), notes=(why,))
    notes = (
        () if joined.complete else (f"only the newest {MOST_LINES:,} lines were looked through for labelled answers",)
    )
    counted = tuple(
        replace(each, labelled=joined.between(each)) if each.release == release.number else each for each in windows
    )
    return LabelChecks(counted, tuple(_checks(joined, release, job.rules.max_drop)), notes)


def _checks(joined: Joined, release: MonitoredRelease, max_drop: float) -> Iterator[Check]:
    labelled, fresh = joined.labelled, joined.fresh
    chosen = fresh.copy()
    if fresh.sum() < AT_LEAST:
        chosen[-AT_LEAST:] = True
    came = f" ({int(fresh.sum()):,} of them came in since the last look)" if not fresh[chosen].all() else ""
    for metric, allowed in ({release.metric: max_drop} | _others(release)).items():
        found = measure(metric, labelled.only(chosen), release.classes, release.costs, release.task)
        then = release.then.get(metric, float("nan"))
        yield health.quality_check(metric, found, then, release.samples, allowed, came)
    accuracy = release.then.get("accuracy", float("nan"))
    if release.classes and release.samples and math.isfinite(accuracy) and len(fresh) >= FEWEST:
        rise = max_drop if release.metric in SHARES and 0 < max_drop < 0.5 else RISE
        errors = wrong(labelled.newest(MOST_LABELLED))
        usual = page_hinkley(round((1 - accuracy) * release.samples), release.samples, rise)
        yield health.sequence_check(usual, errors)


def _others(release: MonitoredRelease) -> dict[str, float]:
    """The metrics of the gate's rules, with how much worse each may be."""
    return {metric: each for metric, each in release.drops.items() if metric != release.metric}


def join(
    folder: Path, store: LabelStore, release: MonitoredRelease, since: str, until: datetime, keep_days: int
) -> Joined | None:
    """The answers of a release that are labelled by now; None when no label of it has come in since `since`.

    The log is read from its end back, a day at a time, until all requests are found, or MOST_LINES were read.
    """
    fresh = {(each.request, each.row) for each in store.newest(since=_second(since))}
    if not fresh:
        return None
    oldest = until - timedelta(days=keep_days)
    labels = {(each.request, each.row): each for each in store.newest(since=f"{oldest:%Y-%m-%dT%H:%M:%SZ}")}
    found, complete = _found(folder, labels, release, oldest, until)
    if not any(key in fresh for key in found):
        return None
    keys = sorted(found, key=lambda each: (found[each][0], each))
    facts = [found[each] for each in keys]
    shares = [each[3] for each in facts]
    probabilities = None
    if release.classes and all(isinstance(each, list) and len(each) == len(release.classes) for each in shares):
        probabilities = np.array(shares, dtype=np.float64)
    labelled = Labelled(
        predicted=[str(each[1]) for each in facts]
        if release.classes
        else np.array([_number(each[3]) for each in facts]),
        truth=[labels[each].value for each in keys],
        correct=[labels[each].correct for each in keys],
        confidence=np.array([_number(each[2]) for each in facts]),
        probabilities=probabilities,
    )
    times = np.array([each[0] for each in facts], dtype=np.int64)
    return Joined(labelled, times, np.array([each in fresh for each in keys], dtype=bool), complete)


def _found(
    folder: Path, labels: Mapping[Key, Label], release: MonitoredRelease, oldest: datetime, until: datetime
) -> tuple[dict[Key, tuple[Any, ...]], bool]:
    """Key → time, class, confidence, output of each labelled answer; and whether nothing was left to look through."""
    requests = pa.array(sorted({request for request, _ in labels}), pa.string())
    found: dict[Key, tuple[Any, ...]] = {}
    lines, end = 0, until
    begin = max(oldest, datetime.fromisoformat(release.at) - STEP)  # clocks of two machines may differ
    with_outputs = not release.classes or any(map(needs_probabilities, (release.metric, *release.drops)))
    columns = ("id", "row", "time", "class", "confidence", *(("outputs",) if with_outputs else ()))
    while end > begin and len(found) < len(labels):
        if lines >= MOST_LINES:
            return found, False
        start = max(end - STEP, begin)
        for table in read(folder, Wanted(start, end, release.number, columns, live=True)):
            lines += table.num_rows
            hits = table.filter(pc.and_(pc.is_in(table["id"], requests), pc.is_valid(table["row"])))
            if hits.num_rows:
                for key, facts in _facts(hits, release):
                    if key in labels:
                        found.setdefault(key, facts)
        end = start
    return found, True


def _facts(table: pa.Table, release: MonitoredRelease) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    outputs: list[Any] = [None] * table.num_rows
    if (
        "outputs" in table.schema.names
        and header_of(table.schema)["outputs"].get(release.output, {}).get("kept") == "value"
    ):
        array = table["outputs"].combine_chunks()
        outputs = pc.struct_field(array, [array.type.get_field_index(release.output)]).to_pylist()
    keys = zip(table["id"].to_pylist(), table["row"].to_pylist(), strict=True)
    times = table["time"].cast(pa.int64()).to_pylist()
    values = zip(times, table["class"].to_pylist(), table["confidence"].to_pylist(), outputs, strict=True)
    return zip(keys, values, strict=True)


def _number(value: Any) -> float:
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return float(value) if isinstance(value, int | float) else float("nan")


def _second(moment: str) -> str:
    """As the label store has times: the second that it is in."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
