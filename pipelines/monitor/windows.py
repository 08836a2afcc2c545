"""Check the live release: what the registry holds about it is found here, what the prediction log shows by a worker.

Windows end a little in the past: a line is written when its request is answered, and has the time at which it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.deploy import config_here, open_deployment
from pipelines.deploy.serve_job import log_folder, serve_job
from pipelines.small_workers import ask
from pipelines.trust import open_registry
from pipelines.workers.jobs import MonitoredRelease, MonitorJob, MonitorRules
from registry import candidates, codec, releases
from registry.errors import ConfigError, Corrupt, PipelineError, TryAgain
from registry.files import sha256_file
from registry.label_store import label_file
from registry.records import Candidate, Release, Rule
from registry.records.monitoring import Check, Looked
from registry.stores import Store, far_away, open_store
from retraining.monitoring.names import REFERENCE_FILE
from serving.server import control
from training.metric_table import row_of

LATE_SECONDS = 10.0
"""Until a line is on the disk, beyond the time that its request may take."""
FOLLOW_MINUTES = 10.0
"""So long a release may be new to a server process."""
SENT = "the prediction log is sent elsewhere: of what `trainyard log send` had sent before, nothing is checked"
MOST_RELEASES = 50
"""That windows are about, in one call."""


def look(config: Config, positions: Mapping[str, str], until: str, since: str = "") -> Looked:
    """Every window that is complete at `until` (UTC, usually now) and was not looked at before.

    `positions`: release → the end of its last window, as earlier calls gave it; `since`: leave out what is older. Without
    both, of the live release, what is not older than `longest_hours`. Light: a worker reads the log.

    Raises ConfigError when nothing is logged, TryAgain when the registry is out of reach, Corrupt, WorkerFailed.
    """
    if not config.prediction_log.enabled:
        raise ConfigError(
            "[prediction_log] enabled is false: the API keeps nothing that could be checked",
            hint="set it to true, and start the API again",
        )
    store, live = _what_is_live(config)
    if live is None:
        return Looked(())
    end = _time(until) - timedelta(seconds=config.serving.timeout_seconds + LATE_SECONDS)
    begin = max([_time(each) for each in (*positions.values(), since) if each], default=None)
    if begin is None:
        begin = max(_time(live.at), end - timedelta(hours=config.monitoring.longest_hours))
    if begin >= end:
        return Looked(())
    made = [_monitored(store, each) for each in _releases_since(store, live, begin)]
    found = run_worker(_job(config, tuple(made), begin, end))
    if not found.health:
        return found
    newest, more = found.health[-1], _of_server_processes(config, live, _time(until))
    notes = newest.notes if config.prediction_log.sink == "file" else (*newest.notes, SENT)
    if isinstance(more, str):
        newest = replace(newest, notes=(*notes, more))
    else:
        checks = (more, *newest.checks) if more.outcome == "failed" else (*newest.checks, more)
        newest = replace(newest, checks=checks, notes=notes)
    return replace(found, health=(*found.health[:-1], newest))


def run_worker(job: MonitorJob) -> Looked:
    """In a process of its own, as it loads NumPy and pyarrow; raises what it reports."""
    printed = ask("pipelines.workers.monitor", codec.to_json(job).decode(), "the worker of the monitor")
    return codec.from_json(Looked, printed.encode(), "what the worker of the monitor has found")


def _what_is_live(config: Config) -> tuple[Store, Release | None]:
    """The registry and its live release; those of the API's local copy while a bucket is out of reach."""
    try:
        store = open_registry(config, only_look=True)
        return store, releases.live(store, config.model)
    except TryAgain:
        job = serve_job(config)
        copy = open_store(job.followed)
        if not job.mirror or not (release := releases.live(copy, config.model)):
            raise
        return copy, release


def _releases_since(store: Store, live: Release, begin: datetime) -> list[Release]:
    """The release that was live at `begin`, and all after it, the oldest first; withdrawals are not among them."""
    chain, found = releases.release_chain(store, live.model), [live]
    for number in range(live.number - 1, 0, -1):
        if _time(found[0].at) <= begin or len(found) >= MOST_RELEASES:
            break
        if (earlier := chain.read(number)).version is not None:
            found.insert(0, earlier)
    return found


def _monitored(store: Store, release: Release) -> MonitoredRelease:
    """What the worker needs to know; a version that cannot be read is a note, and no error: its lines are there."""
    assert release.version is not None
    known = MonitoredRelease(release.number, release.at, release.version)
    try:
        manifest = candidates.manifest(store, release.model, release.version, "production")
    except PipelineError as error:
        return replace(known, note=f"version {release.version} cannot be read: {error}")
    metrics, outputs = manifest.evaluation.candidate, manifest.signature.outputs
    policy = manifest.verdict.policy
    known = replace(
        known,
        task=manifest.signature.task,
        classes=manifest.signature.classes if manifest.signature.task == "classification" else (),
        output=outputs[0].name if outputs else "",
        metric=policy.measure,
        drops={each.measure: each.max_drop for each in policy.rule if each.max_drop is not None and _known(each)},
        costs=policy.costs,
        then=metrics.values,
        samples=metrics.samples,
    )
    try:
        return replace(known, reference=str(reference_file(store, manifest)))
    except FileNotFoundError:
        return replace(
            known, note=f"version {release.version} has no reference: its {REFERENCE_FILE} is not in the registry"
        )
    except PipelineError as error:
        return replace(known, note=f"version {release.version} has no reference: {error}")


def _known(rule: Rule) -> bool:
    """Whether it is about a metric that is measured here: neither by the team's `metrics.py` nor by its script."""
    row = row_of(rule.measure)
    return row is not None and not row.source


def reference_file(store: Store, manifest: Candidate) -> Path:
    """Its file, for reading only; raises ConfigError when the version was made without, Corrupt."""
    digest = manifest.files.get(REFERENCE_FILE)
    if digest is None:
        raise ConfigError("it was made before versions had one; the next retraining makes one")
    name = f"{candidates.version_folder('production', manifest.model, manifest.version)}/{REFERENCE_FILE}"
    if far := far_away(store):
        far.bring([name])
    path = store.path(name)
    if sha256_file(path) != digest:
        raise Corrupt(f"{name}: is not the file with the SHA-256 {digest}", hint=candidates.RESTORE)
    return path


def _job(config: Config, made: tuple[MonitoredRelease, ...], begin: datetime, end: datetime) -> MonitorJob:
    return MonitorJob(
        model=config.model,
        log=str(log_folder(config)),
        labels=str(label_file(Path(config.home).absolute(), config.model)),
        since=begin.isoformat(),
        until=end.isoformat(),
        releases=made,
        rules=MonitorRules(**{each.name: getattr(config.monitoring, each.name) for each in fields(MonitorRules)}),
        keep_days=config.prediction_log.keep_days,
        max_mb=config.prediction_log.max_mb,
        compact=config.prediction_log.sink == "file",
    )


def _of_server_processes(config: Config, live: Release, now: datetime) -> Check | str:
    """Whether all of them answer with the live release; a sentence when that is not known."""
    if now - _time(live.at) < timedelta(minutes=FOLLOW_MINUTES):
        return f"release {live.number} is new: whether every server process follows is checked later"
    try:
        return _other_release(live.number, control.behind(open_deployment(config_here(config)).version(), live.number))
    except PipelineError as error:
        return f"what the server processes answer with is not known: {error}"


def _other_release(live: int, others: list[str]) -> Check:
    """`others`: the server processes, in words, that do not answer with the release that is live."""
    if others:
        reason = f"release {live} is live, and not every server process answers with it: {'; '.join(others)}"
        return Check("service", "other release", "failed", reason, now=float(len(others)), threshold=0.0)
    return Check("service", "other release", "passed", f"every server process answers with release {live}")


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a time", hint="e.g. 2026-11-30T12:00+01:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
