"""`report/index.html` of the newest window: what failed and what to do, quality over time, each column then and now."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pipelines.config.schema import Config
from pipelines.monitor import words
from pipelines.monitor.charts import draw_column, file_name
from pipelines.monitor.outcome import Outcome
from pipelines.monitor.state import moment
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.timeline import draw_timeline
from pipelines.monitor.trend import ESTIMATED, Charts
from pipelines.report.files import Collected, discard
from pipelines.report.page import Html, figure, figures, table, tiles, whole_page, written
from pipelines.report.style import CSS
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Box, Bullets, Paragraph
from registry import codec
from registry.records.monitoring import Alarm, Check, Health, Histogram, Silence
from training.metric_table import row_of

MOST_CHARTS = 40
MOST_ROWS = 400
"""Of the table of checks."""
MOST_ALARMS = 20
"""In the table of alarms, the newest."""


def write_report(config: Config, store: MonitorStore, outcome: Outcome, silences: Sequence[Silence]) -> None:
    """In place of the one before. Raises OSError."""
    health = outcome.newest
    assert health
    files = Collected()
    charts = store.charts()
    sections = [
        ("now", "What to do now", _to_do(config, outcome)),
        ("time", "Over time", _timeline(files, charts, health)),
        ("columns", "Columns, then and now", _columns(files, charts, health)),
        ("checks", "All checks of this window", _checks(health)),
        ("alarms", "Alarms", _alarms(store, silences)),
    ]
    title = f"{config.model}: {_title(health, outcome)}"
    window = words.window_text(health.window)
    page = whole_page(title, f"Window {window}.", _top(health, outcome), [each for each in sections if each[2]])
    files.add("health.json", codec.to_json(health), "this window's record")
    files.files |= {"index.html": page, "report.css": CSS.encode()}
    target = store.folder / "report"
    discard(target)
    files.write(target)


def _title(health: Health, outcome: Outcome) -> str:
    if outcome.open:
        count = len(outcome.open)
        return f"{count} alarm{'s' if count > 1 else ''} open"
    return f"{len(health.failed)} checks failed, no alarm" if health.failed else "nothing failed"


def _top(health: Health, outcome: Outcome) -> Iterator[Html]:
    for each in outcome.open:
        alarm = each.alarm
        check = _now(alarm, health)
        items = (words.in_a_sentence(check), f"{words.upper(words.since(alarm))}.")
        yield written(Box("bad", words.headline(check), tuple(item for item in items if item)))
    causes = {each.alarm.cause for each in outcome.open}
    if others := [each for each in health.failed if each.cause not in causes]:
        lines = tuple(f"{words.headline(each)}. {words.in_a_sentence(each)}" for each in others[:MOST_ALARMS])
        yield written(
            Box("plain", "Failed in this window; not often enough in a row for an alarm, or silenced:", lines)
        )
    if not health.failed and not outcome.open:
        yield written(Box("good", "All checks passed for which there was enough to go by."))
    if health.notes:
        yield written(Box("plain", "What could not be looked into:", health.notes))
    yield tiles(_tiles(health))


def _now(alarm: Alarm, health: Health) -> Check:
    return next((each for each in health.failed if each.cause == alarm.cause), alarm.check)


def _tiles(health: Health) -> Iterator[tuple[str, str]]:
    window = health.window
    yield "predictions", f"{window.rows:,}"
    yield "with a label", f"{window.labelled:,}"
    unknown = sum(each.outcome == "unknown" for each in health.checks)
    yield "checks failed", f"{len(health.failed)} of {len(health.checks)}"
    if unknown:
        yield "not enough to go by", f"{unknown} checks"
    for check in health.checks:
        is_metric = check.what == ESTIMATED or row_of(check.what) is not None
        if check.kind == "decay" and check.now is not None and words.known(check.now) and is_metric:
            then = (
                f" (holdout {metrics.number(check.then)})" if check.then is not None and words.known(check.then) else ""
            )
            yield check.what, metrics.number(check.now) + then


def _to_do(config: Config, outcome: Outcome) -> list[Html]:
    if not outcome.open or outcome.newest is None:
        return []
    alarms = [each.alarm for each in outcome.open]
    blocks: list[Block] = list(words.to_do(config, alarms, moment(outcome.newest.at)))
    return [written(each) for each in blocks]


def _timeline(files: Collected, charts: Charts, health: Health) -> list[Html]:
    drawn = {ESTIMATED, *(each.metric for each in charts.points[-1:])}
    limits = [each.threshold for each in health.checks if each.kind == "decay" and each.what in drawn]
    limit = next((each for each in limits if each is not None and words.known(each)), math.nan)
    drawing = draw_timeline(charts.points, limit)
    return _drawing(files, "timeline.svg", drawing, "Quality and predictions, window by window, with 95 % intervals.")


def _columns(files: Collected, charts: Charts, health: Health) -> list[Html]:
    """The columns that failed first, then those that changed most."""
    checks: dict[str, list[Check]] = {}
    for check in health.checks:
        if check.kind == "drift":
            checks.setdefault(check.column, []).append(check)

    def order(found: Histogram) -> tuple[bool, float]:
        of_column = checks.get(found.column, [])
        return not _failed(of_column), -max((each.effect or 0.0 for each in of_column), default=0.0)

    ranked = sorted(charts.histograms, key=order)
    shown = []
    for found in ranked[:MOST_CHARTS]:
        of_column = checks.get(found.column, [])
        drawing = draw_column(found, _failed(of_column))
        shown += _drawing(files, file_name(found.column), drawing, _caption(found, of_column))
    if not shown:
        return []
    found_all = [figures(shown)]
    if more := len(ranked) - MOST_CHARTS:
        text = f"{more} more columns have no chart: none of them failed, or changed more." if more > 0 else ""
        found_all += [written(Paragraph(text))] if text else []
    about = "The outermost bars of numbers hold what lies beyond them, too. Red: a check of this column failed."
    return [*found_all, written(Paragraph(about))]


def _failed(checks: Sequence[Check]) -> list[Check]:
    return [each for each in checks if each.outcome == "failed"]


def _caption(found: Histogram, checks: Sequence[Check]) -> str:
    said = " ".join(words.in_a_sentence(each) for each in _failed(checks))
    if said:
        return said
    effects = [each.effect for each in checks if each.what == "distribution" and each.effect is not None]
    return f"{found.column}: changed by {effects[0]:.2g} (0 to 1)." if effects else f"{found.column}: not checked."


def _drawing(files: Collected, name: str, drawing: bytes, about: str) -> list[Html]:
    if not drawing or not files.add(name, drawing, about):
        return []
    width, height = (int(drawing.split(mark, 1)[1].split(b'"', 1)[0]) for mark in (b' width="', b' height="'))
    return [figure(name, about, about, (width, height))]


def _checks(health: Health) -> list[Html]:
    rows = [
        (each.outcome, words.headline(each), _number(each.effect), _chance(each.p), words.in_a_sentence(each))
        for each in health.checks[:MOST_ROWS]
    ]
    found = [table(("outcome", "check", "change", "p", "reason"), rows)]
    if more := max(0, len(health.checks) - MOST_ROWS):
        found.append(written(Paragraph(f"... and {more} more in health.json.")))
    return found


def _number(value: float | None) -> str:
    return f"{value:.2g}" if value is not None and words.known(value) else ""


def _chance(p: float | None) -> str:
    return "<0.000001" if p is not None and p < 1e-6 else _number(p)


def _alarms(store: MonitorStore, silences: Sequence[Silence]) -> list[Html]:
    rows = []
    for number in store.alarm_numbers()[-MOST_ALARMS:][::-1]:
        alarm = store.alarm(number)
        rows.append((str(number), clean(alarm.cause), words.since(alarm), str(alarm.release), "; ".join(alarm.done)))
    found = [table(("alarm", "cause", "when", "release", "what was done"), rows)] if rows else []
    lines = tuple(
        f"`{clean(each.cause)}` is silenced until {metrics.moment(each.until)} by {each.by}: {each.reason}"
        for each in silences
    )
    return found + ([written(Bullets(lines))] if lines else [])
