"""One model: how it does, its releases with who, when and why; back to an earlier version, or out of production."""

from __future__ import annotations

import math
from datetime import datetime

from flask import Blueprint, abort, current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from pipelines.console import audit
from pipelines.console.actions import Actions, Asked
from pipelines.console.actions import now as asked_now
from pipelines.console.facts import history, production
from pipelines.console.facts.kpis import PERIODS, kpis
from pipelines.console.facts.models import ago, span, summary
from pipelines.console.facts.read import cache, found_of
from pipelines.console.facts.timeline import timeline, ways_back
from pipelines.console.needs import installation, needs
from pipelines.console.pages.charts_of import drawings, rows
from pipelines.console.pages.overview import number_or_none, person_shown, quality_in_words, waiting
from pipelines.text.clean import clean
from pipelines.text.metrics import moment, number
from registry.errors import TryAgain
from registry.records import utc_now

page = Blueprint("model", __name__)
NAME = "trainyard.actions"
MOST_RELEASES = 25
MOST_ALARMS = 40
LONGEST_REASON = 400
"""Characters."""
RECENT = 3600.0
"""Seconds for which the page shows how a decision has ended."""


def actions() -> Actions:
    """Those of the console that answers."""
    found = current_app.extensions.get(NAME)
    if found is None:
        found = current_app.extensions.setdefault(NAME, Actions(installation().home))
    assert isinstance(found, Actions)
    return found


@page.get("/models/<model>/")
@needs("see")
def show(model: str) -> str:
    """`?period=` day, week or all; `?before=` a release: those before it."""
    kept, place, now = cache(), g.place, utc_now()
    found = found_of(kept, place)
    facts = summary(model, found, now)
    period = request.args.get("period", "week")
    points = kpis(found.watched.points, period if period in PERIODS else "week")
    entries = timeline(found.history)
    before = request.args.get("before", 0, int)
    shown = [each for each in entries if not 0 < before <= each.number][:MOST_RELEASES]
    versions = history.versions_of(kept, place, iter({each.version for each in shown if each.version is not None}))
    alarms = production.alarms_since(kept, place.config, MOST_ALARMS)
    return render_template(
        "model.html",
        model=facts,
        found=found,
        versions=versions,
        entries=shown,
        more=shown[-1].number if shown and shown[-1].number > 1 else 0,
        charts=drawings(facts, points, found.history.releases, alarms),
        rows=rows(points),
        period=period if period in PERIODS else "week",
        periods=PERIODS,
        waiting=waiting,
        quality=quality_in_words,
        asked=_recent(actions().newest(place), now),
        back=ways_back(found.history),
        number=number_or_none,
        metric=number,
        known=math.isfinite,
        moment=moment,
        ago=lambda at: ago(at, now),
        span=span,
        now=now,
    )


@page.get("/models/<model>/roll-back")
@needs("roll back")
def ask_back(model: str) -> Response | tuple[str, int]:
    """The question, with its consequence; `?to=` the version."""
    return _question(model, "roll back", request.args.get("to", 0, int))


@page.post("/models/<model>/roll-back")
@needs("roll back")
def go_back(model: str) -> Response | tuple[str, int]:
    """Begin it, and lead to the model's page, which shows how far it is."""
    return _decided(model, "roll back", request.form.get("to", 0, int))


@page.get("/models/<model>/demote")
@needs("demote")
def ask_demote(model: str) -> Response | tuple[str, int]:
    """The question, with its consequence."""
    return _question(model, "demote", 0)


@page.post("/models/<model>/demote")
@needs("demote")
def go_demote(model: str) -> Response | tuple[str, int]:
    """As `go_back`."""
    return _decided(model, "demote", 0)


def _question(model: str, verb: str, to: int, wrong: str = "", code: int = 200) -> Response | tuple[str, int]:
    kept, place = cache(), g.place
    known = history.history(kept, place)
    back = ways_back(known)
    if known.live is None and verb == "demote":
        flash("Nothing is live: there is nothing to take out of production.", "bad")
        return redirect(url_for("model.show", model=model), 303)
    if verb == "roll back" and to not in back:
        abort(404)
    live = known.live.version if known.live else None
    target = history.version(kept, place, to) if to else None
    current = history.version(kept, place, live) if live else None
    text = render_template(
        "question.html",
        verb=verb,
        target=target,
        current=current,
        live=known.live,
        before=back.get(to),
        over=known.latest.number if known.latest else 0,
        reason=clean(request.form.get("reason", ""), LONGEST_REASON),
        longest=LONGEST_REASON,
        wrong=wrong,
        api=production.api(place.config, 0),
        moment=moment,
        ago=lambda at: ago(at, utc_now()),
    )
    return text, code


def _decided(model: str, verb: str, to: int) -> Response | tuple[str, int]:
    reason, over = clean(request.form.get("reason", ""), LONGEST_REASON + 3), request.form.get("over", 0, int)
    known = history.history(cache(), g.place)
    latest = known.latest
    if latest is None or (verb == "roll back" and to not in ways_back(known)):
        return _question(model, verb, to, "This is not possible any more.", 409)
    if over != latest.number:
        said = (
            f"Release {latest.number} was made meanwhile, by {latest.by}. What is below is as it is now: decide again."
        )
        return _question(model, verb, to, said, 409)
    if not reason or len(reason) > LONGEST_REASON:
        said = f"Write down why, in at most {LONGEST_REASON} characters: it is kept with the release."
        return _question(model, verb, to, said, 400)
    asked = asked_now(verb, to, over, person_shown(), reason)
    audit.record(verb, model, f"{asked.title}, over release {over}: {reason}")
    try:
        actions().begin(g.place, asked)
    except TryAgain as error:
        if "another decision" not in str(error):
            raise
        return _question(model, verb, to, "Another decision about this model is at work. Wait until it has ended.", 409)
    return redirect(url_for("model.show", model=model), 303)


def _recent(asked: Asked | None, now: str) -> Asked | None:
    """While it runs, and for a while after."""
    if asked is None or asked.running:
        return asked
    age = datetime.fromisoformat(now) - datetime.fromisoformat(asked.at)
    return asked if age.total_seconds() < RECENT else None
