"""resolve: which commits, which settings, which live version is this run about? Same answers, same run."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.repositories import git, processes
from pipelines.runs import RunFolder, StepRecord, Stopwatch, id_of, run_of
from registry import candidates, codec, releases
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.records import Run, Sources, Trigger, utc_now


@dataclass(frozen=True, slots=True)
class Request:
    """What a push, a person or Jenkins asks for."""

    trigger: Trigger
    commits: Mapping[str, str] = field(default_factory=dict)
    """Repository → commit, where it is not simply the head of the watched branch."""
    forced: bool = False
    reason: str = ""
    started_by: str = ""
    """Who or what asks, when it is not a push."""
    occasion: str = ""
    """What there is only one run for, whatever has been pushed since: the run of an occasion is resumed, not repeated."""


def resolve(context: Context, request: Request, root: Path | None = None) -> RunFolder:
    """Find or make the run's folder: `root`, or one under the home that is named by the run's id."""
    watch = Stopwatch()
    if request.occasion and not root:
        root = context.config.runs / run_of(context.config.model, request.occasion)
    if root and (root / "run.json").exists():
        folder = RunFolder(root)  # a build that was started again resumes its own run
        _must_be_asked_for(folder, request)
        run = folder.run
    else:
        run = _run(context, request, elsewhere=root is not None)
        folder = RunFolder(root or context.config.runs / run.id)
        with contextlib.suppress(FileExistsError):
            codec.save_new(run, folder.root / "run.json")
    if folder.record("resolve"):
        return folder
    note = ", ".join(f"{name} {getattr(run.sources, name)[:7]}" for name in ("code", "dataset", "tests"))
    folder.keep(StepRecord("resolve", "done", note, run.created_at, watch.seconds))
    _announce(context, folder)
    return folder


def _announce(context: Context, folder: RunFolder) -> None:
    """Record in other tools that the run begins; what prevents it is shown."""
    if context.config.tracking.openlineage:
        from pipelines.exports import tracking

        for problem in tracking.announce(context, folder):
            context.progress.note(f"OpenLineage: {problem}")


def _must_be_asked_for(folder: RunFolder, request: Request) -> None:
    """A folder that is left from another build must not swallow a new push."""
    run = folder.run
    if request.occasion and request.occasion == run.occasion:
        return  # whatever has been pushed since
    others = [f"{name} {sha[:7]}" for name, sha in request.commits.items() if getattr(run.sources, name) != sha]
    if run.trigger != request.trigger or others or (request.forced and not run.forced):
        raise ConfigError(
            f"{folder.root} holds run {run.id}, of the pipeline {run.trigger}; it is not the one asked for",
            hint="give each build a folder of its own, e.g. --run run-$BUILD_NUMBER",
        )


def main(_context: Context, folder: RunFolder) -> str:
    """The run is resolved when its folder is made; this only names it."""
    return f"run {folder.run.id}"


def _run(context: Context, request: Request, *, elsewhere: bool) -> Run:
    model = context.config.model
    release = releases.live(context.store, model)
    parent = release.version if release else None
    newest = candidates.newest(context.store, model)
    if request.trigger == "tests":
        sources = _sources_of_candidate(context, request, newest)
    else:
        sources = Sources(**_heads(context, request.commits))
    config = _digest(context.config.outcome_settings)
    went_in: list[Any] = [model, request.trigger, sources.code, sources.dataset, sources.tests, config, parent]
    went_in += [newest] if request.trigger == "tests" else []
    folders = {
        name: folder for name in ("code", "dataset", "tests") if (folder := context.config.repositories.folder_of(name))
    }
    went_in += [folders] if folders else []  # another folder of a commit holds other files
    if request.forced and not request.occasion:
        went_in.append(os.urandom(16).hex() if elsewhere else _next(context, went_in))
    return Run(
        id=run_of(model, request.occasion) if request.occasion else id_of(went_in),
        model=model,
        trigger=request.trigger,
        sources=sources,
        config=config,
        parent=parent,
        candidate=newest,
        created_at=utc_now(),
        forced=request.forced,
        reason=request.reason,
        started_by=request.started_by,
        occasion=request.occasion,
    )


def _sources_of_candidate(context: Context, request: Request, newest: int | None) -> Sources:
    """New tests are about the newest candidate: its code, its data."""
    if newest is None:
        raise ConfigError(
            f"{context.config.model} has no candidate to test yet",
            hint="push to code first, or run `trainyard run code`",
        )
    tests = request.commits.get("tests") or git.head(
        context.url("tests"), context.config.repositories.branch_of("tests"), "tests"
    )
    manifest = candidates.manifest(context.store, context.config.model, newest)
    return Sources(code=manifest.sources.code, dataset=manifest.sources.dataset, tests=tests)


def _heads(context: Context, given: Mapping[str, str]) -> dict[str, str]:
    """The commit of each role. A branch that has several roles has one commit in a run."""
    roles = dict[tuple[str, str], list[str]]()
    for name in ("code", "dataset", "tests"):
        roles.setdefault((context.url(name), context.config.repositories.branch_of(name)), []).append(name)

    def head(place: tuple[str, str]) -> str:
        known = next((given[name] for name in roles[place] if given.get(name)), "")
        return known or git.head(*place, roles[place][0])

    heads = dict(zip(roles, processes.in_parallel(head, list(roles)), strict=True))
    return {name: given.get(name) or heads[place] for place, names in roles.items() for name in names}


def _next(context: Context, went_in: list[Any]) -> int:
    """Which of the forced runs of the same this one is: the last one when that was stopped halfway, else a new one."""
    for number in itertools.count(1):
        run = id_of([*went_in, number])
        folder = RunFolder(context.config.runs / run)
        if (folder.root / "run.json").exists():
            if folder.decided() is None:
                break
        elif (
            candidates.find_run(context.store, context.config.model, run) is None
        ):  # else its folder was deleted to free space
            break
    return number


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
