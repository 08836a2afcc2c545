"""`metrics.prom`: the newest window for Prometheus, as a file that node_exporter's textfile collector reads, whole or absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pipelines.monitor.state import MonitorState, moment
from pipelines.monitor.trend import ESTIMATED
from pipelines.monitor.words import known
from registry.files import write_whole
from registry.records.monitoring import Check, Health

MOST_COLUMNS = 100
"""With a series of their own: those that changed most."""
ABOUT = {
    "last_check_timestamp_seconds": "When the monitor was last done, in seconds since 1970.",
    "alarms_open": "Causes that have failed in enough windows in a row, and still do.",
    "window_end_timestamp_seconds": "The end of the newest window, in seconds since 1970.",
    "rows": "Predictions in the newest window.",
    "labelled_rows": "Those of them whose label is known.",
    "requests_failed": "Requests of the newest window that failed.",
    "lines_left_out": "Lines of the prediction log that could not be read, in the newest window.",
    "checks": "Checks of the newest window, by kind and outcome.",
    "checks_failed": "Failed checks of the newest window.",
    "estimated_accuracy": "Accuracy as the model's own calibrated confidence suggests, without labels.",
    "estimated_accuracy_low": "The lower end of its 95 % interval.",
    "estimated_accuracy_high": "The upper end of its 95 % interval.",
    "measured": "The gate's metrics, of the rows whose label is known.",
    "measured_low": "The lower end of its 95 % interval.",
    "measured_high": "The upper end of its 95 % interval.",
    "measured_holdout": "The same on the holdout, when the version was accepted.",
    "drift_effect": "How much a column's distribution has changed, 0 to 1.",
}
Sample = tuple[str, dict[str, str], float]


def write_metrics(path: Path, model: str, state: MonitorState, newest: Health | None) -> None:
    """Raises OSError."""
    write_whole(path, text(model, state, newest).encode())


def text(model: str, state: MonitorState, newest: Health | None) -> str:
    """In Prometheus' text format."""
    samples: dict[str, list[Sample]] = {}
    for sample in (*_of_state(model, state), *(_of_window(newest) if newest else ())):
        samples.setdefault(sample[0], []).append(sample)
    lines: list[str] = []
    for name, about in ABOUT.items():
        if found := samples.get(name):
            lines += [f"# HELP trainyard_monitor_{name} {about}", f"# TYPE trainyard_monitor_{name} gauge"]
            lines += [_line(each) for each in found]
    return "\n".join([*lines, ""])


def _of_state(model: str, state: MonitorState) -> Iterator[Sample]:
    labels = {"model": model}
    if state.looked:
        yield "last_check_timestamp_seconds", labels, _seconds(moment(state.looked))
    lasting = [each.alarm for each in state.alarms if not each.alarm.over]
    for kind in ("drift", "decay", "service"):
        yield "alarms_open", labels | {"kind": kind}, sum(each.check.kind == kind for each in lasting)


def _of_window(health: Health) -> Iterator[Sample]:
    window = health.window
    labels = {"model": window.model, "version": str(window.version), "release": str(window.release)}
    yield "window_end_timestamp_seconds", labels, _seconds(moment(window.until))
    counts = {
        "rows": window.rows,
        "labelled_rows": window.labelled,
        "requests_failed": window.refused,
        "lines_left_out": window.left_out,
    }
    yield from ((name, labels, count) for name, count in counts.items())
    for kind in ("drift", "decay", "service"):
        outcomes = [each.outcome for each in health.checks if each.kind == kind]
        for outcome in ("passed", "failed", "unknown"):
            yield "checks", labels | {"kind": kind, "outcome": outcome}, outcomes.count(outcome)
        yield "checks_failed", labels | {"kind": kind}, outcomes.count("failed")
    for check in health.checks:
        if check.kind == "decay":
            yield from _of_quality(labels, check)
    yield from _of_columns(labels, health.checks)


def _of_quality(labels: dict[str, str], check: Check) -> Iterator[Sample]:
    name = "estimated_accuracy" if check.what == ESTIMATED else "measured"
    more = labels if check.what == ESTIMATED else labels | {"metric": check.what}
    if not known(check.now):
        return
    for end, value in (("", check.now), ("_low", check.low), ("_high", check.high)):
        if value is not None and known(value):
            yield name + end, more, value
    if name == "measured" and check.then is not None and known(check.then):
        yield "measured_holdout", more, check.then


def _of_columns(labels: dict[str, str], checks: Iterable[Check]) -> Iterator[Sample]:
    found: dict[str, float] = {}
    for check in checks:
        if check.kind == "drift" and check.what == "distribution" and check.effect is not None and known(check.effect):
            found[check.column] = check.effect
    most = sorted(found, key=lambda each: (-found[each], each))[:MOST_COLUMNS]
    yield from (("drift_effect", labels | {"column": each}, found[each]) for each in sorted(most))


def _line(sample: Sample) -> str:
    name, labels, value = sample
    inside = ",".join(f'{key}="{_escaped(each)}"' for key, each in labels.items())
    return f"trainyard_monitor_{name}{{{inside}}} {value!r}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _seconds(at: datetime) -> float:
    return at.timestamp()
