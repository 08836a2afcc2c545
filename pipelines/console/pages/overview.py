"""All models at a glance: what is wrong comes first, then what waits for somebody."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flask import Blueprint, current_app, g, render_template, request, url_for
from markupsafe import Markup

from pipelines.console.charts import sparkline
from pipelines.console.facts.models import ModelFacts, Quality, ago, worst_first
from pipelines.console.facts.read import cache, facts_of
from pipelines.console.needs import can, installation, needs
from pipelines.text.clean import clean
from pipelines.text.metrics import number
from registry.dataclass import dataclass
from registry.records import utc_now

page = Blueprint("overview", __name__)
MOST = 40
"""Models on one page."""
SPARKS = 24
"""Windows of a small line."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits for a person, and where it is; without an address nothing leads there."""

    text: str
    address: str
    tone: str = "plain"


@page.get("/")
@needs("see")
def show() -> str:
    """Those that the person may see; `?q=` has those with a text in their name, `?page=` the next ones."""
    text, at = clean(request.args.get("q", ""), 60), request.args.get("page", 1, int)
    places = [place for name, place in installation().models.items() if can("see", name)]
    models = worst_first(facts_of(cache(), places))
    chosen = [each for each in models if text.casefold() in each.name.casefold()]
    pages = max(1, math.ceil(len(chosen) / MOST))
    at = min(max(at, 1), pages)
    now = utc_now()
    return render_template(
        "overview.html",
        headline=headline(models),
        models=chosen[(at - 1) * MOST : at * MOST],
        count=len(chosen),
        of=len(models),
        text=text,
        at=at,
        pages=pages,
        waiting=waiting,
        quality=quality_in_words,
        spark=spark,
        number=number_or_none,
        ago=lambda moment: ago(moment, now),
    )


def headline(models: Sequence[ModelFacts]) -> str:
    """The page in one sentence."""
    if not models:
        return "There is no model that you may see."
    bad, warn = (sum(each.state.level == level for each in models) for level in ("bad", "warn"))
    decisions, labels = sum(bool(each.waiting) for each in models), sum(each.labels for each in models)
    said = []
    if bad:
        said.append(f"{bad} of {_count(len(models), 'model')} need{'s' * (bad == 1)} attention")
    if warn:
        said.append(f"{_count(warn, 'model')} should be looked at")
    if decisions:
        said.append(f"{_count(decisions, 'decision')} wait{'s' * (decisions == 1)} for somebody")
    if labels:
        said.append(f"{_count(labels, 'answer')} wait{'s' * (labels == 1)} for a label")
    if not said:
        return f"{_count(len(models), 'model')}; nothing is wrong, and nothing waits."
    return f"{'; '.join(said)}."


def waiting(model: ModelFacts) -> list[Waiting]:
    """What waits, and for whom."""
    found = []
    if model.waiting:
        version = model.waiting[0].number
        found.append(Waiting(f"Decide about version {version}", where(model.name, f"decision/{version}"), "warn"))
    if model.alarms:
        found.append(Waiting(_count(model.alarms, "alarm"), where(model.name, "monitor"), "bad"))
    if model.labels:
        found.append(Waiting(f"{_count(model.labels, 'answer')} to label", where(model.name, "labels")))
    for each in model.running[:2]:
        step = f": {each.step} done" if each.step else ""
        found.append(Waiting(f"Run of {each.trigger}{step}", where(model.name, f"runs/{each.id}")))
    return found


def where(model: str, rest: str) -> str:
    """The address of a page of a model; empty when there is no such page. Which there are is looked up once."""
    known = current_app.extensions.setdefault("trainyard.addresses", {})
    kind = rest.partition("/")[0], rest.count("/")
    if kind not in known:
        adapter = current_app.create_url_adapter(request)
        assert adapter
        known[kind] = next(
            (end for end in ("", "/") if adapter.test(f"/models/{model}/{rest}{end}", method="GET")), None
        )
    end = known[kind]
    return "" if end is None else f"{url_for('model.show', model=model)}{rest}{end}"


def quality_in_words(found: Quality) -> Markup:
    """`accuracy 0.941 → 0.912 (0.90 to 0.93), by labels`."""
    if not math.isfinite(found.then):
        return Markup("")
    said = Markup('<span class="soft">{}</span> {}').format(clean(found.metric, 40), number(found.then))
    if math.isfinite(found.then_low):
        said += Markup(' <span class="soft small">{}–{}</span>').format(number(found.then_low), number(found.then_high))
    if math.isfinite(found.now):
        said += Markup(' <span aria-label="then, and now">→</span> <strong>{}</strong>').format(number(found.now))
        if math.isfinite(found.low):
            said += Markup(' <span class="soft small">{}–{}, {}</span>').format(
                number(found.low), number(found.high), found.how
            )
    return said


def spark(model: ModelFacts) -> Markup:
    """How the metric went in the newest windows, by labels where there are any."""
    points = model.points[-SPARKS:]
    measured = [each.now for each in points]
    values = measured if sum(map(math.isfinite, measured)) > 1 else [each.estimated for each in points]
    return sparkline(f"{model.name}: quality in the newest windows", values, "a" if values is measured else "b")


def number_or_none(value: float, unit: str = "") -> str:
    """For a cell; a dash where it is not known."""
    if not math.isfinite(value):
        return "–"
    shown = f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.2g}"
    return f"{shown}{unit}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def person_shown() -> str:
    """Who has signed in and how, for a release's record."""
    return f"{g.person.shown} (console, {g.person.how})"
