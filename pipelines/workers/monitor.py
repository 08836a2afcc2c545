"""The worker that checks the live release: `python -P -m pipelines.workers.monitor`, with a MonitorJob as JSON on stdin.

The result, a Looked, is JSON on stdout. An error with an exit code is the last line there, as `{"error": …, "hint": …, "exit_code": …}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from pipelines.workers.jobs import MonitorJob, MonitorRules
from pipelines.workers.monitored_checks import Opened, check_window, histograms, open_releases
from pipelines.workers.monitored_labels import check_labels
from pipelines.workers.monitored_log import Known, WindowLines, last_before, light_lines, moment, read_windows
from registry import codec
from registry.errors import PipelineError, TryAgain, from_os_error
from registry.records.monitoring import Health, Looked
from retraining.monitoring.drift import Column
from retraining.monitoring.health import failed_first
from retraining.monitoring.windows import NOTHING, Rules, cut
from serving.prediction_log.compact import compact

MOST_WINDOWS = 100
"""In one call; who comes after a long time calls several times."""
DAY = 24 * 3_600_000
"""Milliseconds."""
AHEAD = 10 * 60_000
"""Milliseconds. Lines that are so far ahead come from a clock that is, or was, wrong."""


class WithoutPandas:
    """Keeps pyarrow from loading pandas, which it does as soon as it meets a number of Python: for nothing, and a quarter of
    a second."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """As `sys.meta_path` wants it."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main() -> int:
    """Do the job on stdin; an exit code as `trainyard` has it."""
    sys.meta_path.insert(0, WithoutPandas)
    job = codec.from_json(MonitorJob, sys.stdin.buffer.read(), "the job of the monitor")
    try:
        try:
            found = look(job)
        except OSError as error:
            raise from_os_error(error, job.log) or error from None
    except PipelineError as error:
        facts = {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
        sys.stdout.write(json.dumps(facts) + "\n")
        return error.exit_code
    sys.stdout.buffer.write(codec.to_json(found))
    return 0


def look(job: MonitorJob) -> Looked:
    """Every window that is complete, MOST_WINDOWS at most. Raises Corrupt, TryAgain, OSError."""
    notes = _compacted(job)
    opened = {each.number: open_releases(each, job.rules.ignore) for each in job.releases}
    found = list[Health]()
    newest: tuple[Known, Mapping[str, Column]] = ({}, {})
    for window, last in _windows(job, {number: each.known for number, each in opened.items()}, notes):
        release, columns = opened.get(window.cut.release) or Opened(None, None), window.columns()
        found.append(check_window(job, window, columns, release, last))
        newest = release.known, columns
    if not found:
        return Looked(())
    charts = histograms(found[-1].checks, *newest)
    labels = check_labels(job, [each.window for each in found])
    found = [replace(each, window=window) for each, window in zip(found, labels.windows, strict=True)]
    checks = failed_first((*found[-1].checks, *labels.checks))
    found[-1] = replace(found[-1], checks=checks, notes=(*found[-1].notes, *labels.notes, *notes))
    return Looked(tuple(found), charts)


def _windows(job: MonitorJob, known: Mapping[int, Known], notes: list[str]) -> Iterator[tuple[WindowLines, int]]:
    """Each complete window, and when the last line before its end was; what people should know is added to `notes`.

    Of a long time that nobody has looked at, a day is read at once, or what one window may take.
    """
    folder, rules = Path(job.log), _rules(job.rules)
    since, until = _milliseconds(job.since), _milliseconds(job.until)
    before = last_before(folder, moment(since)) if rules.silence else NOTHING
    released, count = [(each.number, _milliseconds(each.at)) for each in job.releases], 0
    while count < MOST_WINDOWS:
        end = min(until, since + max(DAY, rules.longest + rules.step))
        lines = light_lines(folder, moment(since), None if end == until else moment(end))
        if ahead := int((lines.times > until + AHEAD).sum()):
            notes.append(
                f"{ahead:,} lines have a time after {job.until}: a clock is wrong, or was; they wait until then"
            )
        cuts = list(islice(cut(lines, since, end, rules, released, before), MOST_WINDOWS - count))
        for window in read_windows(folder, cuts, lines, known):
            yield window, lines.last(window.cut.until, before)
        count += len(cuts)
        if end == until or not cuts:
            break
        since, before = cuts[-1].until, lines.last(cuts[-1].until, before)
    if count >= MOST_WINDOWS:
        notes.append(f"these are {MOST_WINDOWS} windows; later ones are checked by the next call")


def _compacted(job: MonitorJob) -> list[str]:
    if job.compact and Path(job.log).is_dir():
        try:
            compact(Path(job.log), job.keep_days, job.max_mb)
        except TryAgain as error:
            return [f"the prediction log was not compacted: {error}"]
    return []


def _rules(rules: MonitorRules) -> Rules:
    hour = 3_600_000
    return Rules(
        round(rules.window_minutes * 60_000),
        round(rules.longest_hours * hour),
        rules.min_rows,
        round(rules.no_traffic_hours * hour),
    )


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


if __name__ == "__main__":
    sys.exit(main())
