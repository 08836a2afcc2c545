"""The API follows a new release. When it cannot, an automatic revert is appended at once."""

from __future__ import annotations

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy import DEPLOY_SECONDS, Deployment, open_deployment
from pipelines.deploy.serve_job import image_of, serve_job
from pipelines.text.clean import clean
from registry import releases
from registry.chain import LostRace
from registry.errors import PipelineError, WorkerFailed
from registry.records import Release, ReleaseKind, utc_now
from registry.stores import Store
from registry.undo import good_before

OURSELVES = "trainyard"  # whom an automatic revert names as its author; its `kind` says what it is


def deploy(store: Store, config: Config, api: Deployment, release: Release, image: ImageKind) -> Release:
    """Wait until every worker answers with a new release; else revert, and raise WorkerFailed that reports both.

    An interrupt undoes nothing: the same command resumes here.
    """
    try:
        api.follow(serve_job(config), image, release.number)
    except PipelineError as error:
        raise _reverted(store, config, api, release, error) from None
    _update(config, api, release, image)
    return release


def check_again(store: Store, config: Config, live: Release, seconds: float = DEPLOY_SECONDS) -> Release:
    """As `deploy`, for what is live already: it is not reverted because the API is slow, or cannot be started."""
    api, image = open_deployment(config), image_of(store, live)
    api.start(serve_job(config), image)
    try:
        api.follow(serve_job(config), image, live.number, seconds)
    except WorkerFailed as error:  # a worker says that it cannot load it
        raise _reverted(store, config, api, live, error) from None
    _update(config, api, live, image)
    return live


def back_to(target: Release | None, model: str, *, kind: ReleaseKind, by: str, reason: str) -> Release:
    """The draft of a release that goes back to the version of `target`; None withdraws."""
    version, card = (target.version, target.card) if target else (None, "")
    return Release(0, model, kind, version, card, by, at=utc_now(), reason=reason, approval=None, previous="")


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
    if failed.approval is not None:
        hint += "; the approval is not used up: until it expires, the same command can be repeated"
    if back.version is None:
        return WorkerFailed(f"{said}; release {back.number} withdrew it, and nothing is live", hint=hint)
    return WorkerFailed(f"{said}; version {back.version} answers as before, now as release {back.number}", hint=hint)


def _append_revert(store: Store, failed: Release, reason: str) -> Release:
    """Append a release of what was live and good before `failed`; a withdrawal when nothing was."""
    history = releases.releases(store, failed.model)
    good = good_before([each for each in history if each.number <= failed.number])
    draft = back_to(good, failed.model, kind="revert" if good else "withdrawal", by=OURSELVES, reason=reason)
    return releases.append_release(store, draft, failed.number)
