"""All facts of one model, or of many, at one moment."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from flask import current_app

from pipelines.console.facts import history, production
from pipelines.console.facts.cache import Cache
from pipelines.console.facts.models import Found, ModelFacts, summary, unreadable
from pipelines.console.installation import Place
from registry.errors import PipelineError
from registry.records import utc_now

log = logging.getLogger(__name__)
NAME = "trainyard.facts"


def cache() -> Cache:
    """That of the console that answers."""
    found = current_app.extensions.get(NAME)
    if found is None:
        found = current_app.extensions.setdefault(NAME, Cache())
    assert isinstance(found, Cache)
    return found


def found_of(kept: Cache, place: Place, *, approvals: bool = True) -> Found:
    """All that is to be read; who has approved only where it is shown. Raises PipelineError, OSError."""
    known = (history.history if approvals else history.released_only)(kept, place)
    live, latest = known.live, known.latest
    return Found(
        known,
        history.version(kept, place, live.version) if live and live.version is not None else None,
        production.watched(kept, place.config),
        production.api(place.config, latest.number if latest else 0),
        history.waiting(kept, place, known),
        production.runs_at_work(kept, place.config),
        production.labels_open(kept, place.config),
    )


def facts_of(kept: Cache, places: Iterable[Place]) -> list[ModelFacts]:
    """Each at a glance; what cannot be read of one model hides no other."""
    now, made = utc_now(), []
    for place in places:
        try:
            made.append(summary(place.name, found_of(kept, place, approvals=False), now))
        except (PipelineError, OSError) as error:
            log.error("%s: %s", place.name, error)  # noqa: TRY400  (expected, and its message says where)
            made.append(unreadable(place.name))
    return made
