"""What is known of a model in production: what the monitor has found, whether the API that runs here is ready, what is labelled."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.console.facts.cache import NOTHING, Cache, tag_of
from pipelines.deploy import api_folder
from pipelines.labels.review import review
from pipelines.monitor.decide import stamp
from pipelines.monitor.state import MonitorState, Numbered
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.trend import Point
from pipelines.runs import RunFolder
from registry.dataclass import dataclass
from registry.errors import PipelineError, TryAgain
from registry.label_store import label_file
from registry.records.monitoring import Alarm, Health
from serving.server import control


@dataclass(frozen=True, slots=True)
class Watched:
    """What the monitor has kept."""

    points: tuple[Point, ...] = ()
    """The windows, the oldest first."""
    alarms: tuple[Alarm, ...] = ()
    """Those that last."""
    silenced: frozenset[str] = frozenset()
    """Causes that nobody is written to about."""
    newest: Health | None = None
    looked: str = ""
    """When the monitor was last done; empty: never."""


@dataclass(frozen=True, slots=True)
class Api:
    """The prediction API of a model, as far as this machine knows it."""

    here: bool
    """Whether it would run as a process of this machine: of others nothing is known."""
    processes: int = 0
    ready: int = 0
    """Of them, those that answer with what is live, or have withdrawn it."""
    problem: str = ""
    """Why some do not."""


def watched(cache: Cache, config: Config) -> Watched:
    """Raises Corrupt."""
    store = MonitorStore(config)
    if not store.folder.exists():
        return Watched()
    state = _state(cache, store)
    charts = f"{store.folder}/charts.json"
    points = cache.get(charts, tag_of(charts), lambda: store.charts().points)
    silences = store.silences() if (store.folder / "silences").exists() else []
    alarms = tuple(each.alarm for each in state.alarms if not each.alarm.over)
    return Watched(
        points, alarms, frozenset(each.cause for each in silences), _newest(cache, store, state), state.looked
    )


def alarms_since(cache: Cache, config: Config, most: int) -> tuple[Numbered, ...]:
    """The newest alarms, the oldest of them first."""
    store = MonitorStore(config)
    found = []
    for number in store.alarm_numbers()[-most:]:
        path = store.folder / "alarms" / f"{number:06d}.json"
        try:
            found.append(Numbered(number, cache.get(str(path), tag_of(path), functools.partial(store.alarm, number))))
        except FileNotFoundError:  # the bound has removed it meanwhile
            continue
    return tuple(found)


def _state(cache: Cache, store: MonitorStore) -> MonitorState:
    path = f"{store.folder}/state.json"
    tag = tag_of(path)  # without the file it is made of many others
    return cache.get(path, None if tag == NOTHING else tag, store.state)


def _newest(cache: Cache, store: MonitorStore, state: MonitorState) -> Health | None:
    if not state.positions:
        return None
    release = max(state.positions, key=lambda each: (state.positions[each], int(each)))
    name = stamp(state.positions[release], int(release))
    path = f"{store.folder}/health/{name}.json"
    try:
        return cache.get(path, tag_of(path), lambda: store.health(name))
    except FileNotFoundError:
        return None


def api(config: Config, release: int) -> Api:
    """Whether it answers with this release; 0: none was made yet."""
    if config.serving.deploy != "process":
        return Api(here=False)
    try:
        status = control.status(api_folder(config))
    except (TryAgain, json.JSONDecodeError):
        return Api(here=True)
    workers = status["workers"]
    expected = max(int(status["expected"]), len(workers))
    late = control.behind(status, release)
    failed = [str(each["error"]) for each in workers if each["state"] == "failed"]
    return Api(True, expected, len(workers) - len(late), failed[0] if failed else late[0] if late else "")


def labels_open(cache: Cache, config: Config) -> int:
    """How many answers wait for somebody's label."""
    path = label_file(Path(config.home), config.model)
    if not path.exists():
        return 0
    tag = tag_of(path, path.with_name(f"{path.name}-wal"))
    return cache.get(("labels", str(path)), tag, lambda: len(review(config).open))


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as far as an overview shows it."""

    id: str
    trigger: str
    began: str
    step: str
    """Its last record's; empty before the first."""
    outcome: str
    ended: bool


def runs_at_work(cache: Cache, config: Config) -> tuple[Run, ...]:
    """Those that a process has at this moment, the newest first."""
    found = [run for path, run in _runs(cache, config) if not run.ended and RunFolder(Path(path)).at_work]
    return tuple(sorted(found, key=lambda each: (each.began, each.id), reverse=True))


def _runs(cache: Cache, config: Config) -> Iterator[tuple[str, Run]]:
    try:
        with os.scandir(config.runs) as entries:
            paths = [each.path for each in entries if each.name[0] != "." and each.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        try:
            yield path, cache.get(("run", path), tag_of(f"{path}/steps"), functools.partial(_run, path))
        except (PipelineError, OSError):  # no run, or a damaged one
            continue


def _run(path: str) -> Run:
    folder = RunFolder(Path(path))
    run, records, ended = folder.run, folder.records(), folder.ended()
    last = records[-1] if records else None
    return Run(
        run.id, run.trigger, run.created_at, last.step if last else "", last.outcome if last else "", ended is not None
    )
