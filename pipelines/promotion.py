"""From test to production and back: the approval is checked, the bytes are copied, a release is appended, the API
follows. When it cannot, an automatic revert is appended at once. Every step can be repeated after a kill."""

from __future__ import annotations

from pathlib import Path

from pipelines.approval import approval_secret, check_token
from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy import DEPLOY_SECONDS, Deployment, open_deployment
from pipelines.text.clean import clean
from registry import candidates, releases
from registry.chain import LostRace
from registry.errors import ConfigError, PipelineError, Rejected, WorkerFailed
from registry.records import Approval, Candidate, Release, ReleaseKind, Served, utc_now
from registry.releases import History
from registry.stores import Store
from registry.undo import good_before, live_before
from serving.job import ServeJob

OURSELVES = "trainyard"  # whom an automatic revert names as its author; its `kind` says what it is


def promote(store: Store, config: Config, model: str, version: int, token: str, by: str) -> Release:
    """Make an approved candidate live; gives the release, also when it was live already.

    Raises Rejected (the approval does not hold, the candidate is not accepted) and Corrupt (altered bytes) before
    anything is written; TryAgain when a concurrent writer has released; WorkerFailed when the API could not load it,
    after an automatic revert to what was live before.
    """
    candidate, digest = candidates.read_manifest(store, model, version)
    token_id = check_token(
        approval_secret(Path(config.home)), token, model, version, digest, config.approval.valid_days
    )
    _must_be_accepted(store, candidate, digest)
    candidates.local_folder(store, "test", model, version, digest)
    history = releases.read_history(store, model)
    current = history.latest
    if current and (current.version, current.card) == (version, digest):
        return _check_again(store, config, current)
    _must_be_unused(token_id, history)
    api, image = open_deployment(config), image_for(candidate.served)
    api.start(serve_job(config), image)  # reports a port in use or a broken set-up before anything is written
    releases.copy_to_production(store, model, version)
    given = Approval(0, model, version, digest, token_id, by, at=utc_now(), previous="")
    approval = releases.append_approval(store, given, history)
    draft = Release(
        number=0,
        model=model,
        kind="promotion",
        version=version,
        card=digest,
        by=by,
        at=utc_now(),
        reason=f"promoted with approval {approval.number}",
        approval=approval.number,
        previous="",
    )
    release = releases.append_release(store, draft, current.number if current else 0, history)
    return _deploy(store, config, api, release, image)


def compared_with_another(store: Store, release: Release) -> str:
    """That the release replaced another version than the one its manifest compares it with; empty when it did not."""
    before = releases.release_chain(store, release.model).read(release.number - 1) if release.number > 1 else None
    replaced = before.version if before else None
    if replaced is None or release.version is None:
        return ""
    comparison = candidates.manifest(store, release.model, release.version, "production").evaluation.comparison
    compared = comparison.live_version if comparison else None
    if compared == replaced:
        return ""
    against = f"compared with version {compared}" if compared else "not compared with a live version"
    return f"it was {against}, and has replaced version {replaced}"


def rollback(store: Store, config: Config, model: str, to: int | None, by: str, reason: str) -> Release:
    """Make an earlier version live again: `to`, else the one that was live before the current one.

    Raises ConfigError when there is none, Rejected when `to` was never released, Corrupt when its bytes were altered,
    each before anything is written; TryAgain and WorkerFailed as `promote` does.
    """
    history = releases.releases(store, model)
    if not history:
        raise ConfigError(f"no version of {model} was released yet", hint="`trainyard promote` releases a candidate")
    current = history[-1]
    target = release_before(history) if to is None else _released(history, to)
    if (current.version, current.card) == (target.version, target.card):
        return _check_again(store, config, current)
    assert target.version is not None
    candidates.local_folder(store, "production", model, target.version, target.card)
    api, image = open_deployment(config), image_of(store, target)
    api.start(serve_job(config), image)
    draft = _back_to(target, model, kind="rollback", by=by, reason=reason or "rolled back")
    release = releases.append_release(store, draft, current.number)
    return _deploy(store, config, api, release, image)


def _must_be_accepted(store: Store, candidate: Candidate, digest: str) -> None:
    model, version = candidate.model, candidate.version
    name = f"{model} version {version}"
    if not candidate.verdict.accepted:
        raise Rejected(f"the gate rejected {name}: {'; '.join(candidate.verdict.reasons)}")
    tested = [each for each in candidates.acceptances(store, model, version) if each.card == digest]
    if not tested:
        raise Rejected(f"{name} has had no acceptance test yet", hint="`trainyard run tests` runs it")
    if not tested[-1].accepted:
        raise Rejected(
            f"{name} failed its newest acceptance test (tests {tested[-1].tests:.8}): {'; '.join(tested[-1].reasons)}",
            hint="correct the model or the tests and push; the next mail brings a new approval",
        )


def _must_be_unused(token_id: str, history: History) -> None:
    """An approval makes one release. One that has made none yet was stopped halfway, and its promotion resumes."""
    for approval in history.approvals.having("token", token_id):
        if made := history.release_with(approval.number):
            raise Rejected(
                f"this approval was used for release {made.number} at {made.at}, which is not live any more",
                hint=f"`trainyard rollback {made.model} --to {made.version}` makes version {made.version} live again",
            )


def release_before(history: list[Release]) -> Release:
    """What a rollback without a version goes back to; raises ConfigError when there is nothing. See `registry.undo`."""
    if release := live_before(history):
        return release
    current = history[-1].version
    what = "nothing is live" if current is None else f"version {current} is live"
    raise ConfigError(
        f"{what}, and nothing was live before",
        hint=f"`trainyard registry history {history[0].model}` shows all releases; --to N names one",
    )


def _released(history: list[Release], version: int) -> Release:
    for release in reversed(history):
        if release.version == version:
            return release
    model, known = history[0].model, sorted({each.version for each in history if each.version is not None})
    raise Rejected(
        f"{model} version {version} was never released, so it cannot be rolled back to",
        hint=f"released were {', '.join(map(str, known))}; a new version needs `trainyard promote` and an approval",
    )


def _deploy(store: Store, config: Config, api: Deployment, release: Release, image: ImageKind) -> Release:
    """Wait until every worker answers with a new release; else revert, and raise WorkerFailed that reports both.

    An interrupt undoes nothing: the same command resumes here.
    """
    try:
        api.follow(serve_job(config), image, release.number)
    except PipelineError as error:
        raise _reverted(store, config, api, release, error) from None
    _update(config, api, release, image)
    return release


def _check_again(store: Store, config: Config, live: Release, seconds: float = DEPLOY_SECONDS) -> Release:
    """As `_deploy`, for what is live already: it is not reverted because the API is slow, or cannot be started."""
    api, image = open_deployment(config), image_of(store, live)
    api.start(serve_job(config), image)
    try:
        api.follow(serve_job(config), image, live.number, seconds)
    except WorkerFailed as error:  # a worker says that it cannot load it
        raise _reverted(store, config, api, live, error) from None
    _update(config, api, live, image)
    return live


def _update(config: Config, api: Deployment, live: Release, image: ImageKind) -> None:
    """New settings come with a release; it is not reverted because they do not work."""
    try:
        api.update(serve_job(config), image)
    except PipelineError as error:
        said = (
            f"version {live.version} of {live.model} is live as release {live.number}, but the API keeps its settings"
        )
        raise type(error)(f"{said}: {error}", hint=error.hint) from None


def _reverted(store: Store, config: Config, api: Deployment, failed: Release, why: PipelineError) -> WorkerFailed:
    """Append a release that reverts the `failed` one, and wait for it; gives the error that says what happened."""
    said = f"version {failed.version} of {failed.model} could not be deployed: {why}"
    hint = f"`trainyard serve {failed.model} --status` shows the state of the API, and where its log is"
    try:
        back = _append_revert(store, failed, clean(f"release {failed.number} could not be deployed: {why}", 300))
        api.follow(serve_job(config), image_of(store, back), back.number)
    except LostRace:
        return WorkerFailed(f"{said}; a concurrent writer has released another version", hint=hint)
    except PipelineError as error:
        return WorkerFailed(f"{said}; and the automatic revert failed, too: {error}", hint=hint)
    if back.version is None:
        return WorkerFailed(f"{said}; release {back.number} withdrew it, and nothing is live", hint=hint)
    return WorkerFailed(f"{said}; version {back.version} answers as before, now as release {back.number}", hint=hint)


def _append_revert(store: Store, failed: Release, reason: str) -> Release:
    """Append a release of what was live and good before `failed`; a withdrawal when nothing was."""
    history = releases.releases(store, failed.model)
    good = good_before([each for each in history if each.number <= failed.number])
    draft = _back_to(good, failed.model, kind="revert" if good else "withdrawal", by=OURSELVES, reason=reason)
    return releases.append_release(store, draft, failed.number)


def _back_to(target: Release | None, model: str, *, kind: ReleaseKind, by: str, reason: str) -> Release:
    """The draft of a release that goes back to the version of `target`; None withdraws."""
    version, card = (target.version, target.card) if target else (None, "")
    return Release(0, model, kind, version, card, by, at=utc_now(), reason=reason, approval=None, previous="")


def image_for(served: Served) -> ImageKind:
    """The smallest image that has the engine of a version: a SavedModel needs TensorFlow."""
    return "serve" if served.engine == "litert" else "train"


def image_of(store: Store, release: Release) -> ImageKind:
    """As `image_for`, of a release that is in production."""
    if release.version is None:
        return "serve"
    return image_for(candidates.manifest(store, release.model, release.version, "production").served)


def serve_job(config: Config) -> ServeJob:
    """What the API needs to know: its part of the config."""
    serving = config.serving
    return ServeJob(
        model=config.model,
        registry=config.registry.url,
        host=serving.host,
        port=serving.port,
        workers=serving.workers,
        threads=serving.threads,
        max_body_mb=serving.max_body_mb,
        max_instances=serving.max_instances,
        timeout_seconds=serving.timeout_seconds,
    )
