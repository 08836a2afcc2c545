"""One model at a glance: pure rules over what was read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal

from pipelines.console.facts.history import History, Version
from pipelines.console.facts.production import Api, Run, Watched
from pipelines.monitor import words
from pipelines.monitor.trend import Point
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.records import Release
from registry.records.monitoring import Alarm
from retraining.labels.agreement import share_interval

Level = Literal["bad", "warn", "good", "plain"]
ORDER: tuple[Level, ...] = ("bad", "warn", "good", "plain")
"""What is wrong comes first."""
TITLES = {"bad": "Needs attention", "warn": "Look at it", "good": "In order", "plain": "Not watched"}
QUIET = timedelta(days=2)
"""Without a look for so long, the monitor has stopped: its longest window is a day by default."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The gate's metric when the version was accepted, and in production now. NaN: not known."""

    metric: str = ""
    then: float = math.nan
    then_low: float = math.nan
    then_high: float = math.nan
    now: float = math.nan
    low: float = math.nan
    high: float = math.nan
    how: Literal["", "by labels", "estimated"] = ""
    """How `now` is known: compared with labels; by the model's own confidence, calibrated on the holdout."""
    at: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """How a model does, with every reason."""

    level: Level
    reasons: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """In a few words; never by colour alone."""
        return TITLES[self.level]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the overview, and the top of a model's page, show."""

    name: str
    state: State
    live: Release | None = None
    latest: Release | None = None
    quality: Quality = field(default_factory=Quality)
    per_hour: float = math.nan
    latency: float = math.nan
    points: tuple[Point, ...] = ()
    waiting: tuple[Version, ...] = ()
    running: tuple[Run, ...] = ()
    alarms: int = 0
    labels: int = 0

    @property
    def waits(self) -> int:
        """How many things wait for a person."""
        return len(self.waiting[:1]) + self.alarms + bool(self.labels)


@dataclass(frozen=True, slots=True)
class Found:
    """All that was read of one model."""

    history: History
    live_version: Version | None
    watched: Watched
    api: Api
    waiting: tuple[Version, ...] = ()
    running: tuple[Run, ...] = ()
    labels: int = 0


def summary(name: str, found: Found, now: str) -> ModelFacts:
    """The model at a glance."""
    live, watch = found.history.live, found.watched
    own = [each for each in watch.points if live and each.release == live.number]
    newest = own[-1] if own else None
    return ModelFacts(
        name,
        state(found, now),
        live,
        found.history.latest,
        quality(found.live_version, own),
        per_hour(newest) if newest else math.nan,
        newest.latency if newest else math.nan,
        watch.points,
        found.waiting,
        found.running,
        sum(each.cause not in watch.silenced for each in watch.alarms),
        found.labels,
    )


def unreadable(name: str) -> ModelFacts:
    """Of a model whose facts cannot be read; the log says why."""
    reason = "What is known of it cannot be read. The console's log has the reason."
    return ModelFacts(name, State("bad", (reason,)))


def state(found: Found, now: str) -> State:
    """Every reason, the worst first: alarms, an API that does not answer as it should, a monitor that has stopped."""
    live, watch = found.history.live, found.watched
    bad = [_alarm(each) for each in watch.alarms if each.cause not in watch.silenced]
    warn = [f"{_alarm(each)} Silenced." for each in watch.alarms if each.cause in watch.silenced]
    if live and found.api.here:
        if not found.api.processes:
            warn.append("The prediction API does not run on this machine.")
        elif found.api.problem:
            bad.append(f"{found.api.ready} of {found.api.processes} server processes answer with what is live.")
    if live and watch.looked and _age(watch.looked, now) > QUIET:
        warn.append(f"The monitor was last here {ago(watch.looked, now)}: does it run?")
    if live and watch.newest and watch.newest.window.release == live.number and not watch.alarms:
        failed = watch.newest.failed
        warn += [
            f"{words.upper(words.headline(each))}: failed in the newest window; no alarm yet." for each in failed[:3]
        ]
    level: Level = "bad" if bad else "warn" if warn else "good" if live and watch.newest else "plain"
    if level == "plain":
        return State(level, (_not_watched(found.history),))
    return State(level, (*bad, *warn))


def _not_watched(known: History) -> str:
    if known.live:
        return "Nobody looks at its answers yet: the monitor has not seen a window of it."
    return "Nothing is live." if known.latest else "Nothing was released yet."


def _alarm(alarm: Alarm) -> str:
    said = words.in_a_sentence(alarm.check)
    return f"{words.upper(words.headline(alarm.check))}. {clean(said, 240)}".strip()


def quality(version: Version | None, points: Sequence[Point]) -> Quality:
    """Then from the version's manifest, now from the newest window of this release that knows one: by labels rather than estimated."""
    if version is None:
        return Quality()
    then_low, then_high = math.nan, math.nan
    if version.metric == "accuracy" and version.samples and 0 <= version.value <= 1:
        then_low, then_high = share_interval(version.value, version.samples)
    then = (version.metric, version.value, then_low, then_high)
    for point in reversed(points):
        if math.isfinite(point.now) and point.metric == version.metric:
            return Quality(*then, point.now, point.low, point.high, "by labels", point.until)
        if math.isfinite(point.estimated) and version.metric == "accuracy":
            return Quality(*then, point.estimated, point.estimated_low, point.estimated_high, "estimated", point.until)
    return Quality(*then)


def per_hour(point: Point) -> float:
    """Predictions in an hour of this window; NaN when its length is not known."""
    if not point.since:
        return math.nan
    hours = (_moment(point.until) - _moment(point.since)) / timedelta(hours=1)
    return point.rows / hours if hours > 0 else math.nan


def worst_first(models: Sequence[ModelFacts]) -> list[ModelFacts]:
    """What is wrong, then what waits for somebody, then by name."""
    return sorted(models, key=lambda each: (ORDER.index(each.state.level), -min(each.waits, 1), each.name))


def ago(at: str, now: str) -> str:
    """`3 days ago`."""
    return f"{span(at, now)} ago"


def span(start: str, end: str) -> str:
    """How long that is, in the unit that says most."""
    minutes = max(_age(start, end) / timedelta(minutes=1), 0)
    for unit, size in (("day", 1440), ("hour", 60)):
        if minutes >= 2 * size or (unit == "hour" and minutes >= 60):
            count = int(minutes // size)
            return f"{count} {unit}{'s' * (count != 1)}"
    count = int(minutes)
    return f"{count} minute{'s' * (count != 1)}" if count else "less than a minute"


def _age(at: str, now: str) -> timedelta:
    return _moment(now) - _moment(at)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
