"""`trainyard labels import`: labels from a file into the store, all or nothing."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pipelines.config.schema import Config
from pipelines.deploy.serve_job import log_job
from pipelines.labels.files import Entry, read_entries
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.label_store import LabelStore, label_file
from registry.records.labels import Label
from serving.feedback.items import Invalid, Item, read_item
from serving.feedback.rules import label_for
from serving.prediction_log.find import Finder, Found

AT_ONCE = 20_000
SHOWN = 20
"""Problems that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    added: int
    same: int
    refused: int
    """Lines that could not be taken; 0 unless those may be left out."""
    problems: tuple[str, ...] = ()
    """The first of them."""


class _Problems:
    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, line: int, text: str) -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(f"line {line}: {text}")


def import_labels(config: Config, path: Path, who: str, *, partial: bool = False) -> Imported:
    """Add what is in the file. `who`: whose labels those are that name nobody. `partial`: leave out what cannot be taken.

    All is checked before anything is added, which happens at one moment. Raises ConfigError, Corrupt, TryAgain.
    """
    job = log_job(config)
    if not Path(job.folder).exists():
        raise ConfigError(
            f"{job.folder}: there is no prediction log, so nothing can be labelled",
            hint="set [prediction_log] enabled = true, and start the API again",
        )
    problems, finder = _Problems(), Finder(job)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as checked:
        for some in _parts(read_entries(path)):
            for label, assumed in _labels(some, finder, (path, who), problems):
                line = [
                    label.request,
                    label.row,
                    label.value,
                    label.correct,
                    label.by,
                    label.at,
                    label.source,
                    label.sure,
                ]
                checked.write(json.dumps([line, assumed]) + "\n")
        if problems.count and not partial:
            more = f"; and {problems.count - len(problems.first)} more" if problems.count > len(problems.first) else ""
            raise ConfigError(
                f"{path}: {problems.count} labels cannot be taken: {'; '.join(problems.first)}{more}",
                hint="correct them, or leave them out by --partial; nothing was imported",
            )
        checked.seek(0)
        with LabelStore(label_file(Path(config.home).absolute(), config.model)) as store:
            found = store.add_file(_read(checked), partial=partial)
            checked.seek(
                0
            )  # a purge is noted before it removes labels: of one that is noted later it removes these, too
            purged = finder.purged(label.request for label, _ in _read(checked))
            removed = store.purge(purged, who, "labels that were imported during a purge") if purged else 0
    if purged:
        problems.first.append(f"purged meanwhile, and their labels not kept: {len(purged)} of the requests")
    refused = problems.count + found["full"] + removed
    return Imported(max(found["added"] - removed, 0), found["same"], refused, tuple(problems.first))


def _parts(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while some := list(islice(entries, AT_ONCE)):
        yield some


def _read(checked: IO[str]) -> Iterator[tuple[Label, bool]]:
    for text in checked:
        line, assumed = json.loads(text)
        yield Label(*line), assumed


def _labels(
    entries: Iterable[Entry], finder: Finder, given: tuple[Path, str], problems: _Problems
) -> Iterator[tuple[Label, bool]]:
    """Each with whether its time is only assumed: when the file was changed last."""
    path, who = given
    now = datetime.now(UTC)
    changed = min(datetime.fromtimestamp(path.stat().st_mtime, UTC), now)
    items: list[tuple[Entry, Item]] = []
    for each in entries:
        try:
            if each.problem:
                raise Invalid(400, each.problem)
            items.append((each, read_item(each.found, who, now)))
        except Invalid as error:
            problems.add(each.line, _text(error))
    known = finder.find(list({item.request for _, item in items}))
    for each, item in items:
        found = known[item.request]
        try:
            label = label_for(_typed(item, found), found, "queue" if each.is_task else "import")
        except Invalid as error:
            problems.add(each.line, _text(error))
        else:
            yield replace(label, at=label.at or f"{changed:%Y-%m-%dT%H:%M:%SZ}"), not label.at


def _text(error: Invalid) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)


def _typed(item: Item, found: Found) -> Item:
    """Files of text have numbers as texts."""
    about: Mapping[str, Any] = found.about or {}
    if isinstance(item.label, str) and about.get("classes") == []:
        try:
            number = float(item.label)
        except ValueError:
            return item
        if math.isfinite(number):
            whole = item.label.strip().lstrip("+-").isdecimal()
            return replace(item, label=int(item.label) if whole else number)
    return item
