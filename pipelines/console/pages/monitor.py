"""How the live release does: the newest judgement in words, columns then and now, windows, alarms; silence and retrain."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from pipelines.console import audit
from pipelines.console.background import background
from pipelines.console.monitoring.drawings import drawn_column, drawn_timeline
from pipelines.console.monitoring.judgement import judgement_of, lateness, public
from pipelines.console.needs import needs
from pipelines.monitor import words
from pipelines.monitor.causes import OF_EVERY_MODEL, known_causes, meant
from pipelines.monitor.service import ask_for_retraining
from pipelines.monitor.state import text_of
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.trend import ESTIMATED, Charts
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import Corrupt, TryAgain
from registry.records import utc_now
from registry.records.monitoring import Alarm, Health, Histogram, Silence

page = Blueprint("monitor", __name__)
COLUMNS = 8
"""On one page."""
WINDOWS, POINTS = 24, 96
"""Rows of the table of windows, and windows in the drawing."""
CHECKS, PAST = 60, 20
LONGEST_SILENCE = timedelta(days=366)
MOST_REASON = 300
WINDOW = re.compile(r"[0-9]{8}T[0-9]{6}Z-r[0-9]{1,9}")


@page.get("/models/<model>/monitor")
@needs("see")
def show(model: str) -> str:  # noqa: ARG001  (`g.place` has it)
    """Nothing is changed by looking."""
    return _page()


@page.post("/models/<model>/monitor/silence")
@needs("silence")
def silence(model: str) -> Any:
    """Nobody is written to about a cause for a while; it is checked and shown all the same."""
    store = MonitorStore(g.place.config)
    known = _causes(store)
    cause = meant(request.form.get("cause", "")[:500], known)
    until, reason = request.form.get("until", ""), clean(request.form.get("reason", ""), MOST_REASON)
    end = _end_of(until)
    errors = {} if cause in known else {"cause": "Choose one of the causes."}
    if end is None:
        last = datetime.now(UTC) + LONGEST_SILENCE
        errors["until"] = f"A day from today on, and before {last:%Y-%m-%d}."
    if not reason:
        errors["reason"] = "Say why, for whoever asks later."
    if errors or end is None:
        return _page(errors, {"cause": cause, "until": until[:40], "reason": reason}), 400
    audit.record("silence", model, f"{clean(cause)} until {text_of(end)}: {reason}")
    store.silence(Silence(cause, text_of(end), g.person.shown, reason, utc_now()))
    flash(f"{clean(cause)}: no mails until {end:%Y-%m-%d %H:%M} UTC.", "good")
    return _back(model)


@page.post("/models/<model>/monitor/unsilence")
@needs("silence")
def unsilence(model: str) -> Response:
    """Write about it again; again changes nothing."""
    store = MonitorStore(g.place.config)
    cause = meant(request.form.get("cause", "")[:500], [each.cause for each in store.silences()])
    audit.record("unsilence", model, clean(cause))
    if store.unsilence(cause):
        flash(f"{clean(cause)}: not silenced any more.", "good")
    return _back(model)


@page.post("/models/<model>/monitor/retrain")
@needs("retrain")
def retrain(model: str) -> Any:
    """Start what `[monitoring] on_alarm = "retrain"` starts, as a process of its own."""
    config, reason = g.place.config, clean(request.form.get("reason", ""), MOST_REASON)
    if not reason:
        return _page({"why": "Say why, for the mail and the record."}), 400
    audit.record("retrain", model, reason)
    try:
        asked = ask_for_retraining(config, MonitorStore(config), g.person.shown, reason)
    except TryAgain as error:
        flash(public(f"{words.upper(str(error))}."), "bad")
        return _back(model)
    if config.jenkins.url:
        command = ["jenkins", "trigger", "dataset", "--force", f"--reason={reason}"]
    else:
        by = f"{g.person.shown}, in the console"
        command = [
            "run",
            "dataset",
            "--force",
            f"--reason={reason}",
            f"--started-by={by}",
            f"--occasion={asked.occasion}",
        ]
    background().start(f"retrain-{model}", config, *command)
    flash(
        f"Run {asked.run} of the dataset's pipeline is starting. The gate decides whether what it makes is better.",
        "good",
    )
    return _back(model)


@dataclass(frozen=True, slots=True)
class Shown:
    """An alarm or a silence, as the page has it."""

    cause: str
    headline: str
    when: str
    sentence: str = ""
    done: tuple[str, ...] = ()
    silence: str = ""
    """Until when, by whom and why; empty: it is not silenced."""
    release: int = 0
    run: str = ""


def _page(errors: dict[str, str] | None = None, given: dict[str, str] | None = None) -> str:
    config = g.place.config
    store = MonitorStore(config)
    state, silences = store.state(), store.silences()
    silenced = {each.cause: each for each in silences}
    newest = store.newest()
    chosen = _window(store, request.args.get("window", ""))
    charts = store.charts()
    lasting = [each.alarm for each in state.alarms if not each.alarm.over]
    page_of_columns = request.args.get("columns", 0, type=int) or 1
    columns, pages = _columns(charts, newest, page_of_columns)
    causes = _causes(store)
    return render_template(
        "monitor.html",
        enabled=config.prediction_log.enabled,
        judgement=judgement_of(newest, state, silenced.keys()),
        late=lateness(state, config.monitoring.window_minutes, datetime.now(UTC)) if newest else "",
        window=public(words.window_text(newest.window)) if newest else "",
        notes=[public(each) for each in newest.notes] if newest else [],
        open=[_alarm(each, silenced.get(each.cause)) for each in lasting],
        silences=[_silence(each) for each in silences],
        past=_past(store),
        columns=columns,
        columns_page=page_of_columns,
        columns_pages=pages,
        timeline=drawn_timeline(charts.points[-POINTS:], _limit(newest, charts)),
        points=_points(charts),
        chosen=chosen,
        checks=_checks(chosen or newest),
        causes=[(each, clean(each, 120)) for each in causes],
        errors=errors or {},
        given=given or {"cause": lasting[0].cause if lasting else "", "until": _in_a_week(), "reason": ""},
        on_alarm=config.monitoring.on_alarm,
        cool_down=f"{config.monitoring.cool_down_hours:g}",
    )


def _causes(store: MonitorStore) -> list[str]:
    return list(dict.fromkeys((*known_causes(store), *OF_EVERY_MODEL)))


def _window(store: MonitorStore, name: str) -> Health | None:
    """The window that was asked for; 404 for one that is not there."""
    if not name:
        return None
    try:
        return store.health(name) if WINDOW.fullmatch(name) else abort(404)
    except FileNotFoundError:
        abort(404)


def _columns(charts: Charts, newest: Health | None, number: int) -> tuple[list[Any], int]:
    """Drawings of one page of columns, those that failed first, then those that changed most; and how many pages there are."""
    checks: dict[str, list[Any]] = {}
    for check in newest.checks if newest else ():
        if check.kind == "drift":
            checks.setdefault(check.column, []).append(check)

    def order(found: Histogram) -> tuple[bool, float]:
        of_column = checks.get(found.column, [])
        failed = any(each.outcome == "failed" for each in of_column)
        return not failed, -max((each.effect or 0.0 for each in of_column), default=0.0)

    ranked = sorted(charts.histograms, key=order)
    pages = max(1, math.ceil(len(ranked) / COLUMNS))
    if not 1 <= number <= pages:
        abort(404)
    shown = ranked[(number - 1) * COLUMNS : number * COLUMNS]
    failed = {name: [each for each in found if each.outcome == "failed"] for name, found in checks.items()}
    return [drawn_column(each, failed.get(each.column, [])) for each in shown], pages


def _limit(newest: Health | None, charts: Charts) -> float:
    drawn = {ESTIMATED, *(each.metric for each in charts.points[-1:])}
    limits = [each.threshold for each in newest.checks if each.kind == "decay" and each.what in drawn] if newest else []
    return next((each for each in limits if each is not None and words.known(each)), math.nan)


def _points(charts: Charts) -> Sequence[tuple[str, str, Sequence[str]]]:
    """Of the newest windows: name, end, and what the table says of each."""
    found = []
    for each in charts.points[: -WINDOWS - 1 : -1]:
        name = f"{datetime.fromisoformat(each.until):%Y%m%dT%H%M%SZ}-r{each.release}"
        quality = f"{each.metric} {each.now:.3g}" if each.metric and words.known(each.now) else ""
        estimated = f"{each.estimated:.3g}" if words.known(each.estimated) else ""
        cells = (str(each.release), f"{each.rows:,}", f"{each.labelled:,}", str(each.failed), quality, estimated)
        found.append((name, each.until, cells))
    return found


def _checks(health: Health | None) -> list[tuple[str, str, str]]:
    """Outcome, headline and sentence."""
    checks = health.checks[:CHECKS] if health else ()
    return [(each.outcome, words.headline(each), public(words.in_a_sentence(each))) for each in checks]


def _alarm(alarm: Alarm, silence: Silence | None) -> Shown:
    return Shown(
        alarm.cause, words.upper(words.headline(alarm.check)), public(words.since(alarm)),
        public(words.in_a_sentence(alarm.check)), tuple(public(each) for each in alarm.done),
        _said(silence) if silence else "", alarm.release, alarm.run,
    )  # fmt: skip


def _silence(silence: Silence) -> Shown:
    return Shown(silence.cause, clean(silence.cause, 120), "", silence=_said(silence))


def _said(silence: Silence) -> str:
    why = f": {public(silence.reason)}" if silence.reason else ""
    return f"until {silence.until.replace('T', ' ').replace('Z', ' UTC')}, by {clean(silence.by, 100)}{why}"


def _past(store: MonitorStore) -> list[Shown]:
    """Alarms that are over, the newest first."""
    found = []
    for number in reversed(store.alarm_numbers()):
        try:
            alarm = store.alarm(number)
        except (FileNotFoundError, Corrupt):  # removed meanwhile; the doctor reports what is damaged
            continue
        if alarm.over:
            found.append(_alarm(alarm, None))
        if len(found) == PAST:
            break
    return found


def _end_of(text: str) -> datetime | None:
    """The end of a day, UTC; None: not a day, over, or too far."""
    try:
        day = date.fromisoformat(text.strip()[:10])
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    now = datetime.now(UTC)
    return end if now < end <= now + LONGEST_SILENCE else None


def _in_a_week() -> str:
    return f"{datetime.now(UTC) + words.SILENCE_FOR:%Y-%m-%d}"


def _back(model: str) -> Response:
    return redirect(url_for("monitor.show", model=model), 303)
