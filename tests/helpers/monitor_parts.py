"""Windows made by hand, a monitor that finds them, and the folder in which it keeps what it does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from pipelines.config.schema import Config, Mail, Monitoring, Repositories
from pipelines.monitor.decide import stamp
from registry.records.monitoring import Check, Health, Looked, Window
from retraining.monitoring.histograms import histogram
from retraining.monitoring.sketches import categories, numbers

MODEL = "digits"
START = datetime.now(UTC).replace(microsecond=0, second=0, minute=0) - timedelta(hours=6)
QUARTER = timedelta(minutes=15)


def config(folder, mail=None, **monitoring) -> Config:
    """Of one model; its home is in `folder`."""
    return Config(
        MODEL,
        Repositories("code", "dataset", "tests"),
        mail=mail or Mail(sender="trainyard@company.example", to=("owner@company.example",)),
        monitoring=Monitoring(**monitoring),
        home=str(folder / "home"),
        file=str(folder / "trainyard.toml"),
    )


def at(number) -> str:
    """The end of window `number`, from 1."""
    return (START + number * QUARTER).strftime("%Y-%m-%dT%H:%M:%SZ")


def drift(column="inputs.mass", outcome="failed", what="distribution") -> Check:
    """As the worker writes it."""
    reason = f"{column}: on the holdout the median was 12, and now it is 20 (412 rows; chance alone does so in 1 of 2,500 windows)"
    return Check(
        "drift", what, outcome, reason if outcome == "failed" else f"{column}: no change that matters", column,
        statistic=0.31, threshold=0.08, p=0.0004 if outcome == "failed" else 0.7, effect=0.31, rows=412,
    )  # fmt: skip


def decay(outcome="passed", now=0.93, what="accuracy") -> Check:
    """Of the quality of answers."""
    known = outcome != "unknown"
    return Check(
        "decay", what, outcome, f"{what} is {now}" if known else "no label is known yet",
        threshold=0.9, then=0.95, rows=412 if known else 0,
        **({"now": now, "low": now - 0.03, "high": now + 0.03} if known else {}),
    )  # fmt: skip


def service(outcome="passed", what="latency") -> Check:
    """Of the API."""
    return Check("service", what, outcome, "95 % of the answers within 12 ms", now=12.0, threshold=100.0, rows=412)


def health(number, *checks, release=4, rows=412) -> Health:
    """Window `number`, from 1; failed checks come first."""
    window = Window(MODEL, release + 3, release, at(number - 1), at(number), rows, labelled=40)
    ordered = tuple(sorted(checks, key=lambda each: each.outcome != "failed"))
    return Health(window, ordered, at(number))


def failing(number, column="inputs.mass", **more) -> Health:
    """With one column that has changed."""
    return health(number, drift(column), decay(), service(), **more)


def passing(number, column="inputs.mass", **more) -> Health:
    """With the same checks."""
    return health(number, drift(column, "passed"), decay(), service(), **more)


def looking(*found, histograms=()):
    """What finds these windows, each once, as the worker does: those after the positions, of the past."""
    asked = []

    def look(_config, positions, until, since):
        asked.append((positions, until, since))
        new = tuple(
            each
            for each in found
            if max(positions.get(str(each.window.release), ""), since) < each.window.until <= until
        )
        return Looked(new, tuple(histograms))

    look.asked = asked
    return look


def names(store):
    """Of the kept windows."""
    return store.health_ids()


def name(each: Health) -> str:
    """As its file is called."""
    return stamp(each.window.until, each.window.release)


def columns(seed=1, rows=600):
    """Histograms of three columns, of which the first has moved."""
    random = np.random.default_rng(seed)
    mass, colours = random.normal(20, 5, rows), random.choice(["red", "green", "blue"], rows)
    return (
        histogram(
            "inputs.mass", numbers(random.normal(12, 4, 5000)), np.where(random.random(rows) < 0.1, np.nan, mass)
        ),
        histogram("inputs.colour", categories(random.choice(["red", "green"], 5000)), categories(colours)),
        histogram("confidence", numbers(random.beta(8, 1, 5000)), random.beta(8, 1, rows)),
    )


def later(each: Health, **window) -> Health:
    """The same window with other facts."""
    return replace(each, window=replace(each.window, **window))
