"""The charts of a model's page, and the table beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from pipelines.console.charts import About, Level, Mark, Series, Value, bar_chart, line_chart
from pipelines.console.facts.kpis import Kpi
from pipelines.console.facts.models import ModelFacts
from pipelines.monitor.state import Numbered
from pipelines.text.clean import clean
from pipelines.text.metrics import moment, number
from registry.records import Release


def drawings(
    model: ModelFacts, points: Sequence[Kpi], releases: Sequence[Release], alarms: Sequence[Numbered]
) -> list[tuple[str, Markup]]:
    """Title and chart of each that there is something to draw of."""
    if not points:
        return []
    marks = [Mark(each.at, f"v{each.version}" if each.version else "nothing live") for each in releases[-200:]]
    marks += [Mark(each.alarm.raised or each.alarm.since, clean(each.alarm.cause, 80), "alarm") for each in alarms]
    metric = next((each.metric for each in reversed(points) if each.metric), "")
    between = f"from {moment(points[0].until)} to {moment(points[-1].until)}"
    same = model.quality.then if metric in {"", model.quality.metric} else math.nan
    found = [
        (
            "Quality",
            line_chart(
                About(
                    "Quality over time",
                    f"{metric or 'accuracy'} {between}, with 95 % intervals. The table below has the numbers.",
                ),
                [
                    Series(f"{clean(metric, 20)} by labels", [_value(each, each.measured) for each in points]),
                    Series("estimated", [_value(each, each.estimated) for each in points], "b"),
                ],
                marks,
                [Level("on the holdout", same)],
            ),
        ),
        (
            "Traffic, predictions per hour",
            bar_chart(
                About("Traffic over time", f"Predictions per hour {between}. The table below has the numbers."),
                [Value(each.until, each.per_hour) for each in points],
                marks,
            ),
        ),
        (
            "Latency, milliseconds for 95 % of the answers",
            line_chart(
                About(
                    "Latency over time",
                    f"Milliseconds in which 95 % of the answers were given, {between}. The table below has the numbers.",
                ),
                [Series("95 % within", [Value(each.until, each.latency) for each in points])],
                marks,
            ),
        ),
        (
            "Failed checks of the monitor",
            bar_chart(
                About(
                    "Failed checks over time",
                    f"How many checks of the monitor failed {between}. The table below has the numbers.",
                ),
                [Value(each.until, float(each.failed), group=1) for each in points],
                marks,
            ),
        ),
    ]
    return [each for each in found if each[1]]


def rows(points: Sequence[Kpi]) -> list[list[str]]:
    """The same numbers, the newest first."""
    return [
        [
            moment(each.until),
            str(each.release),
            f"{each.rows:,}",
            _with_interval(each.measured),
            _with_interval(each.estimated),
            _known(each.per_hour),
            _known(each.latency),
            str(each.failed),
        ]
        for each in reversed(points)
    ]


def _value(each: Kpi, found: tuple[float, float, float]) -> Value:
    return Value(each.until, *found, group=each.release)


def _with_interval(found: tuple[float, float, float]) -> str:
    value, low, high = found
    if not math.isfinite(value):
        return ""
    return f"{number(value)} ({number(low)} to {number(high)})" if math.isfinite(low) else number(value)


def _known(value: float) -> str:
    return f"{value:,.4g}" if math.isfinite(value) else ""
