"""The review queue: filled from the prediction log, a day's bound at a time; shown, and given away as tasks."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.config.schema import Config
from pipelines.deploy.serve_job import log_folder
from pipelines.labels.candidate import ask_candidate
from pipelines.monitor.windows import reference_file
from pipelines.small_workers import ask
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.dataclass import dataclass
from registry.errors import ConfigError, PipelineError
from registry.label_queue import Item, LabelQueue
from registry.label_store import LabelStore, label_file
from registry.records import Task
from registry.records.labels import Label
from retraining.labels.accepted import Asked, asked, is_wrong, said, states
from retraining.labels.agreement import Agreement, Outcome, agreements, estimated_accuracy
from serving.prediction_log.segments import ask_to_close

WHAT = "the worker that reads the prediction log"
MODULE = "pipelines.workers.label_queue"
LOOK_BACK = timedelta(days=7)
GIVES: Mapping[Task, str] = {"multi-label": "any number of labels at once", "anomaly": "a score"}
"""Tasks whose answers nobody can be asked about by one class or number."""
"""How old an answer may be that people are asked about."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The queue with what people have said."""

    items: tuple[Item, ...]
    rules: Asked
    labels: Mapping[tuple[str, int], list[Label]]
    """Of each item that has any: the oldest first."""
    unsure: Mapping[tuple[str, int], frozenset[str]]
    """Who is not sure what is right."""
    states: Mapping[tuple[str, int], Outcome]


@dataclass(frozen=True, slots=True)
class Review:
    """The queue as it is."""

    items: tuple[Item, ...]
    states: Mapping[tuple[str, int], Outcome]
    agreements: tuple[Agreement, ...]
    accuracy: tuple[float, float, float] | None
    """Share of right answers among those that were drawn at random and are labelled, with the ends of its 95 % interval."""
    drawn: int
    """How many those are."""

    @property
    def open(self) -> tuple[Item, ...]:
        """Those that somebody is still to be asked about."""
        return tuple(each for each in self.items if self.states[each.request, each.row].state == "open")


@dataclass(frozen=True, slots=True)
class Filled:
    """What has come into the queue."""

    new: int
    notes: tuple[str, ...] = ()
    """For people: what the candidate was asked, or why it was not."""


def fill(config: Config, now: datetime | None = None) -> Filled:
    """Put into the queue what the day's bound leaves room for. Raises ConfigError for a live model whose answers people cannot
    label, and what the worker reports."""
    _check_task(config)
    at = now or datetime.now(UTC)
    path = label_file(Path(config.home), config.model)
    with LabelQueue(path) as queue:
        room = config.labels.per_day - queue.offered_since(f"{at:%Y-%m-%d}T00:00:00Z")
        if room < 1 or not log_folder(config).exists():
            return Filled(0)
        since, by = at - LOOK_BACK, config.labels.choose
        asked = ask_candidate(config, since) if by == "disagreement" else None
        if asked and asked.others is None:
            by = "margin"
        reference, note = _holdout(config)
        job = {
            "action": "choose", "log": str(log_folder(config)), "labels": str(path), "since": since.isoformat(),
            "most": room, "random_share": config.labels.random_share, "by": by,
            "others": (asked.others or ()) if asked else (), "reference": reference,
        }  # fmt: skip
        found = json.loads(ask(MODULE, job, WHAT))
        new = queue.offer([Item(**each, offered=f"{at:%Y-%m-%dT%H:%M:%SZ}") for each in found])
        return Filled(new, tuple(each for each in (asked.note if asked else "", note) if each))


def _check_task(config: Config) -> None:
    """Raise ConfigError where an answer is not one class or number. What is not known now is not refused: see `_holdout`."""
    try:
        store = open_registry(config, only_look=True)
        live = releases.live(store, config.model)
        if live is None or live.version is None:
            return
        task = candidates.manifest(store, config.model, live.version, "production").signature.task
    except PipelineError:
        return
    if gives := GIVES.get(task):
        raise ConfigError(
            f"version {live.version} of {config.model} gives {gives}; the review queue asks for one class or number",
            hint="label such samples in the dataset repository; clients may report `correct` by POST /feedback",
        )


def _holdout(config: Config) -> tuple[str, str]:
    """The live version's reference, which knows the samples of its holdout; or an empty path, and a sentence why where people should
    know."""
    try:
        store = open_registry(config, only_look=True)
        live = releases.live(store, config.model)
        if live is None or live.version is None:
            return "", ""
        return str(reference_file(store, candidates.manifest(store, config.model, live.version, "production"))), ""
    except (PipelineError, FileNotFoundError) as error:
        return (
            "",
            f"What is in the holdout is not known ({clean(str(error), 200)}): `trainyard labels commit` leaves it out.",
        )


def desk(config: Config) -> Desk:
    """What is in the queue, and what people have said of it."""
    path = label_file(Path(config.home), config.model)
    if not path.exists():
        return Desk((), {}, {}, {}, {})
    with LabelQueue(path) as queue, LabelStore(path) as store:
        items, unsure = queue.items(), queue.unsure()
        rules = asked(items, config.labels.numbers)
        labels = [each for each in store.all({request for request, _ in rules}) if (each.request, each.row) in rules]
    by_row: dict[tuple[str, int], list[Label]] = {}
    for each in labels:
        by_row.setdefault((each.request, each.row), []).append(each)
    return Desk(items, rules, by_row, unsure, states(labels, rules, config.labels.labellers, unsure))


def review(config: Config, seen: Desk | None = None, among: Collection[tuple[str, int]] | None = None) -> Review:
    """What is in the queue, how far it is, and what it says of the model; `among`: the agreement and the accuracy go by these
    items alone."""
    found = seen or desk(config)
    shown = {key: rows for key, rows in found.labels.items() if among is None or key in among}
    right = []
    for item in found.items:
        key = item.request, item.row
        if item.why == "random" and item.answered and key in shown:  # a number is hardly ever the same as a label
            outcome = found.states[key]
            if outcome.state == "accepted":
                right.append(outcome.label in {item.answered, ""})
            elif is_wrong(shown[key], config.labels.labellers):
                right.append(False)
    numbers, classes = (
        [said(rows) for key, rows in shown.items() if (found.rules[key] is not None) is are_numbers]
        for are_numbers in (True, False)
    )
    agreed = (*agreements(classes), *agreements(numbers, config.labels.numbers))
    return Review(found.items, found.states, agreed, estimated_accuracy(right), len(right))


def details(config: Config, items: Sequence[Item], *, images: bool = False) -> dict[tuple[str, int], dict[str, Any]]:
    """What the prediction log still has of these: inputs, answer, confidence and, where it was kept, the image."""
    if not items:
        return {}
    if images:
        ask_to_close(log_folder(config))  # those of a segment appear when it is closed
    rows = [[each.request, each.row] for each in items]
    job = {"action": "show", "log": str(log_folder(config)), "rows": rows, "images": images}
    return {(each["request"], each["row"]): each for each in json.loads(ask(MODULE, job, WHAT))}
