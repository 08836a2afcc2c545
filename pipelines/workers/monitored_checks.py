"""What there is to say about one window, but for what labels say: its lines against the version's reference, and the API itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from pipelines.workers.jobs import MonitoredRelease, MonitorJob, MonitorRules
from pipelines.workers.monitored_log import Known, WindowLines, moment
from registry.records.monitoring import Check, Health, Histogram, Window
from registry.records.run import utc_now
from retraining.monitoring import health
from retraining.monitoring.calibration import estimated_accuracy
from retraining.monitoring.drift import Column, Limits, check_columns
from retraining.monitoring.health import ServiceLimits, Traffic, names_in_words
from retraining.monitoring.histograms import histogram
from retraining.monitoring.names import CLASS, CONFIDENCE
from retraining.monitoring.reference import BadReference, Reference, from_bytes
from retraining.monitoring.sketches import Categories
from retraining.monitoring.windows import NOTHING
from serving.prediction_log.losses import dropped_lines
from serving.prediction_log.tables import left_out

MOST_HISTOGRAMS = 24
HOUR = 3_600_000
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A release with its reference."""

    release: MonitoredRelease | None
    reference: Reference | None
    note: str = ""
    """Why there is no reference."""
    known: Known = field(default_factory=dict)
    """The reference's columns, without those that are ignored."""


def open_releases(release: MonitoredRelease, ignore: Sequence[str]) -> Opened:
    """Its reference is read; where that fails, the note says why."""
    if not release.reference:
        return Opened(release, None, release.note)
    try:
        reference = from_bytes(Path(release.reference).read_bytes())
    except (BadReference, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return Opened(release, None, f"the reference of version {release.version} cannot be used: {why}")
    known = {name: each for name, each in reference.columns.items() if not is_ignored(name, ignore)}
    return Opened(release, reference, "", known)


def is_ignored(column: str, ignore: Sequence[str]) -> bool:
    """Whether a column is of one of the inputs or outputs that settings name, or named itself."""
    for name in ignore:
        whole = (name, f"inputs.{name}", f"outputs.{name}")
        if column in whole or any(column.startswith((f"{each}.", f"{each}[")) for each in whole[1:]):
            return True
    return False


def check_window(
    job: MonitorJob, window: WindowLines, columns: Mapping[str, Column], opened: Opened, last: int
) -> Health:
    """The record of one window, without labels. `columns`: what it holds; `last`: when the last line before its end was."""
    folder, release, cut = Path(job.log), opened.release, window.cut
    since, until = moment(cut.since), moment(cut.until)
    checks, notes = list[Check](), list[str]()
    if window.rows < job.rules.min_rows:
        notes.append(f"{window.rows:,} rows: drift and confidence are checked from {job.rules.min_rows:,} on")
    elif opened.reference is None:
        notes.append(opened.note or f"nothing is known of release {cut.release}, so that drift is not checked")
    else:
        checks += _of_reference(job.rules, columns, opened)
        notes += _about_columns(window, columns, opened.known, job.rules.ignore)
        if window.kept_rows < window.rows:
            notes.append(f"of {window.rows:,} rows, {window.kept_rows:,} were compared, evenly spread")
    traffic = Traffic(
        window.requests,
        window.errors,
        np.concatenate([np.zeros(0), *window.milliseconds]),
        window.lines,
        dropped_lines(folder, since, until),
        None if last == NOTHING else (cut.until - last) / HOUR,
    )
    limits = ServiceLimits(
        error_share=job.rules.max_error_share,
        latency_ms=job.rules.max_latency_ms,
        quiet_hours=job.rules.no_traffic_hours,
    )
    checks += health.service_checks(traffic, limits)
    lost = left_out(folder, since, until)
    if lost:
        notes.append(f"{lost:,} lines of the prediction log cannot be read, and are left out")
    if window.others:
        notes.append(
            f"other releases than {cut.release} have answered {window.others:,} instances, which are not checked"
        )
    about = Window(
        job.model, release.version if release else 0, cut.release, in_utc(since), in_utc(until), window.rows,
        refused=window.refused, left_out=lost, others=window.others,
    )  # fmt: skip
    return Health(about, health.failed_first(checks), utc_now(), tuple(notes))


def in_utc(time: datetime) -> str:
    """With milliseconds, as the log has times: windows begin where others end."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def histograms(checks: Sequence[Check], known: Known, columns: Mapping[str, Column]) -> tuple[Histogram, ...]:
    """Of the columns that were checked, those that failed first."""
    wanted = dict.fromkeys(each.column for each in checks if each.kind == "drift")
    return tuple(histogram(name, known[name], columns[name]) for name in list(wanted)[:MOST_HISTOGRAMS])


def _of_reference(rules: MonitorRules, columns: Mapping[str, Column], opened: Opened) -> Iterator[Check]:
    assert opened.reference is not None
    assert opened.release is not None
    limits = Limits(alpha=rules.alpha, effect=rules.effect, share=rules.share, min_rows=rules.min_rows)
    findings = check_columns(opened.known, columns, limits)
    yield from health.drift_checks(findings, opened.known, columns, limits)
    confidence, then = columns.get(CONFIDENCE), opened.release.then.get("accuracy")
    curve = opened.reference.calibration
    if curve is None or then is None or confidence is None or isinstance(confidence, Categories):
        return
    if (found := estimated_accuracy(curve, confidence)) and found.rows >= rules.min_rows:
        yield health.estimate_check(found, then, rules.max_drop)


def _about_columns(
    window: WindowLines, columns: Mapping[str, Column], known: Known, ignore: Sequence[str]
) -> Iterator[str]:
    """What cannot be compared, and why."""
    if window.hashed:
        yield f"{names_in_words(sorted(window.hashed))}: the log keeps a hash only, which cannot be compared"
    if new := sorted(each for each in window.new if not is_ignored(each, ignore)):
        yield f"{names_in_words(new)}: the log has it, and the reference does not, so that it is not compared"
    gone = sorted(
        name
        for name in known
        if name not in {CLASS, CONFIDENCE}
        and not any(name == each or name.startswith((f"{each}.", f"{each}[")) for each in window.fields)
    )
    gone += sorted(name for name in (CLASS, CONFIDENCE) if name in known and name not in columns)
    if gone:
        yield f"{names_in_words(gone)}: the reference has it, and the log does not: it is not kept, or was renamed"
    if window.other_type:
        yield f"{names_in_words(sorted(window.other_type))}: numbers in one, and other values in the other of log and reference"
