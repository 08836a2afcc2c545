"""Who is asked what next, by the queue as it is; and the answers of people, kept as `trainyard labels` keeps them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from flask import current_app

from pipelines.config.schema import Config
from pipelines.console.labelling.question import Question, question_of, report_of
from pipelines.console.labelling.shown import ItemReader
from pipelines.deploy.serve_job import log_job
from pipelines.labels.review import Desk, Review, desk, review
from registry.dataclass import dataclass
from registry.label_queue import Item, LabelQueue, Last
from registry.label_store import LabelStore, label_file
from retraining.labels.turns import Key, may_be_asked, next_of, visible
from serving.feedback.items import read_item
from serving.feedback.rules import gone, label_for
from serving.prediction_log.find import Finder, Found

HOLD = 300.0
"""Seconds for which an item is left to whoever looks at it, where others have one, too."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody is asked now, and what is left."""

    item: Item | None
    soon: tuple[Item, ...]
    waiting: int
    """How many this person may be asked about, with this one."""
    mine: int
    """How many this person has labelled."""
    counts: Mapping[str, int]
    """State → items."""
    seen: Review
    """Agreement and accuracy, by what this person may see."""
    last: Last | None
    """What this person can take back."""


class Office:
    """For all models and threads of a console."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.reader = ItemReader()
        self._lock = threading.Lock()
        self._clock = clock
        self._desks: dict[str, tuple[tuple[int, ...], Desk]] = {}
        self._held: dict[tuple[str, Key], tuple[str, float]] = {}
        self._finders: dict[str, Finder] = {}

    def turn(self, config: Config, who: str, after: Key | None = None) -> Turn:
        """What `who`, empty for somebody who does not label, is asked next; `after`: an item that was passed over. The item is held for that person."""
        found, last = self._desk(config), self._last(config, who)
        waiting = {
            (each.request, each.row): each
            for each in found.items
            if who
            and may_be_asked(
                who, found.states[each.request, each.row], found.labels.get((each.request, each.row), ()),
                found.unsure.get((each.request, each.row), ()), config.labels.labellers,
            )
        }  # fmt: skip
        key = self._hold(config.model, who, list(waiting), after)
        seen = visible(who, found.states, found.labels, {key} if key else set())
        mine = sum(any(label.by == who for label in labels) for labels in found.labels.values())
        soon = tuple(each for each in waiting.values() if (each.request, each.row) != key)
        counts = Counter(str(each.state) for each in found.states.values())
        return Turn(
            waiting.get(key) if key else None, soon, len(waiting), mine, counts, review(config, found, seen), last
        )

    def item(self, config: Config, key: Key) -> Item | None:
        """One of the queue; None: it is not in there."""
        return next((each for each in self._desk(config).items if (each.request, each.row) == key), None)

    def question(self, config: Config, item: Item) -> Question:
        """What is asked of it."""
        return question_of(self._found(config, item).about or {}, item.answered)

    def answer(self, config: Config, who: str, item: Item, form: Mapping[str, str]) -> str:
        """Keep what somebody says of an item, by the rules of `POST /feedback`; on the disk when this returns. Gives what came of it
        in the label store: `added`, `same` or `full`. Raises Invalid for what does not answer that question."""
        found = self._found(config, item)
        report = report_of(question_of(found.about or {}, item.answered), form)
        report |= {"request_id": item.request, "row": item.row, "by": who}
        label = label_for(read_item(report, who, datetime.now(UTC)), found, "queue")
        with LabelStore(_file(config)) as store:
            (outcome,) = store.add([label])
            with self._lock:
                purged = self._finders[config.model].purged([item.request])
            if purged:  # while the answer was on its way
                store.purge(purged, "the console", "answers that came during a purge")
                raise gone(item.request)
        self._release(config, who, item)
        return outcome

    def not_sure(self, config: Config, who: str, item: Item) -> None:
        """Note that; again changes nothing."""
        with LabelQueue(_file(config)) as queue:
            queue.not_sure(item.request, item.row, who)
        self._release(config, who, item)

    def undo(self, config: Config, who: str, kind: str, number: int) -> Last | None:
        """Take back what somebody did last; None when it is not that."""
        with LabelQueue(_file(config)) as queue:
            return queue.undo(who, kind, number)

    def _last(self, config: Config, who: str) -> Last | None:
        if not _file(config).exists():
            return None
        with LabelQueue(_file(config)) as queue:
            return queue.last_of(who)

    def _desk(self, config: Config) -> Desk:
        """The queue, read again when anybody has changed it."""
        if not _file(config).exists():
            return desk(config)
        with LabelQueue(_file(config)) as queue:
            version = queue.version()
        with self._lock:
            known = self._desks.get(config.model)
            if known is None or known[0] != version:
                known = self._desks[config.model] = version, desk(config)
            return known[1]

    def _hold(self, model: str, who: str, waiting: list[Key], after: Key | None) -> Key | None:
        now = self._clock()
        with self._lock:
            self._held = {key: held for key, held in self._held.items() if held[1] > now}
            mine = [key for (of, key), (person, _) in self._held.items() if (of, person) == (model, who)]
            others = {key for (of, key), (person, _) in self._held.items() if of == model and person != who}
            stays = next((key for key in waiting if key in mine), None) if after is None else None
            found = stays or next_of(waiting, others, after)
            for key in mine:
                self._held.pop((model, key), None)
            if found:
                self._held[model, found] = who, now + HOLD
            return found

    def _release(self, config: Config, who: str, item: Item) -> None:
        key = config.model, (item.request, item.row)
        with self._lock:
            if self._held.get(key, ("", 0.0))[0] == who:
                del self._held[key]

    def _found(self, config: Config, item: Item) -> Found:
        with self._lock:
            finder = self._finders.setdefault(config.model, Finder(log_job(config)))
            return finder.find([item.request])[item.request]


def office() -> Office:
    """That of the console that answers."""
    return cast("Office", current_app.extensions.setdefault("trainyard.labels", Office()))


def _file(config: Config) -> Path:
    return label_file(Path(config.home).absolute(), config.model)
