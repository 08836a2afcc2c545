"""What a CI server shows of a promotion or a rollback: `name.txt` and `description.txt` in the folder of its build.

Before it, what there is to decide about; after it, what became of it, with the reasons when it was rejected. The last line
is the registry's newest head, by which a later truncation shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.build_status import head_line, page_of_run, write_status
from pipelines.config.schema import Config
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.errors import PipelineError, Rejected
from registry.stores import Store


def shown(build: Path | None, config: Config, kind: str, version: int | None, act: Callable[[], int]) -> int:
    """The result of `act`; how it has ended is written into `build`, when there is one."""
    name = _name(kind, config.model, version)
    if build is None:
        return act()
    try:
        code = act()
    except PipelineError as error:
        how = "rejected: " if isinstance(error, Rejected) else ""
        write_status(build, name, [f"{name}: {how}{clean(str(error), 350)}"], _head(config))
        raise
    store = open_registry(config, only_look=True)
    if release := releases.live(store, config.model):
        name = _name(kind, config.model, release.version)
        lines = [f"{name}: live as release {release.number}, by {release.by}", release.reason]
        write_status(build, name, lines, head_line(store, config.model))
    return code


def ask(build: Path | None, config: Config, version: int) -> list[str]:
    """What is known of the version that a person is asked about; also written into `build`, when there is one.

    Raises ConfigError when there is no such version.
    """
    lines = list(_facts(open_registry(config, only_look=True), config, version))
    if build:
        name = _name("promotion", config.model, version)
        write_status(build, name, [f"{name}: waits for an approval", *lines], _head(config))
    return lines


def _head(config: Config) -> str:
    try:
        return head_line(open_registry(config, only_look=True), config.model)
    except PipelineError:  # the registry itself may be what has failed
        return ""


def _name(kind: str, model: str, version: int | None) -> str:
    return f"{kind} {model}{f' {version}' if version else ''}"


def _facts(store: Store, config: Config, version: int) -> Iterator[str]:
    manifest = candidates.manifest(store, config.model, version)
    live = releases.live(store, config.model)
    now = f"version {live.version} is live" if live else "nothing is live yet"
    yield f"version {version}: {metrics.short(manifest.evaluation, manifest.verdict.policy.measure)}; {now}"
    yield from (f"{key}: {url}" for key, url in page_of_run(config.runs / manifest.run))
    tests = candidates.acceptances(store, config.model, version)
    yield "acceptance tests: " + (_outcome(tests[-1].accepted, tests[-1].reasons) if tests else "not run yet")
    yield ", ".join(f"{each} {getattr(manifest.sources, each)[:7]}" for each in ("code", "dataset", "tests"))


def _outcome(accepted: bool, reasons: tuple[str, ...]) -> str:  # noqa: FBT001  (a field of a record)
    return "passed" if accepted else clean(f"failed: {'; '.join(reasons)}", 120)
