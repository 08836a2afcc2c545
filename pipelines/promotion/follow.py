"""The API follows a new release. When it cannot, an automatic revert is appended at once; when it is late, nothing is."""

from __future__ import annotations

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy import DEPLOY_SECONDS, Deployment, open_deployment
from pipelines.deploy.serve_job import image_of, serve_job
from pipelines.text.clean import clean
from registry import heads, releases
from registry.chain import LostRace
from registry.errors import ConfigError, PipelineError, TryAgain, WorkerFailed
from registry.records import Release, ReleaseKind, utc_now
from registry.stores import Store
from registry.undo import good_before
from serving.reach import OutOfReach
from serving.server.control import start_again

OURSELVES = "trainyard"  # whom an automatic revert names as its author; its `kind` says what it is


def deploy(store: Store, config: Config, api: Deployment, release: Release, image: ImageKind) -> Release:
    """Wait until every worker answers with a new release. One that cannot load it reverts it, and WorkerFailed reports both.

    A wait that takes too long proves nothing about the release: it stays, and TryAgain says so, or ConfigError when only a
    new start of the API helps. Nor does an interrupt undo anything: the same command resumes here.
    """
    try:
        api.follow(serve_job(config), image, release.number)
    except (TryAgain, OutOfReach) as error:
        raise _not_yet(release, error) from None
    except PipelineError as error:
        raise _reverted(store, config, api, release, error) from None
    _update(config, api, release, image)
    return release


def check_again(store: Store, config: Config, live: Release, seconds: float = DEPLOY_SECONDS) -> Release:
    """As `deploy`, for what is live already: it is not reverted because the API is slow, or cannot be started."""
    about = [] if live.version is None else [live.version]
    heads.write_head(store, live.model, about)  # who released it may have been killed before
    api, image = open_deployment(config), image_of(store, live)
    api.start(serve_job(config), image)
    try:
        api.follow(serve_job(config), image, live.number, seconds)
    except (TryAgain, OutOfReach) as error:
        raise _not_yet(live, error) from None
    except WorkerFailed as error:  # a worker says that it cannot load it
        raise _reverted(store, config, api, live, error) from None
    _update(config, api, live, image)
    return live


def back_to(target: Release | None, model: str, *, kind: ReleaseKind, by: str, reason: str) -> Release:
    """The draft of a release that goes back to the version of `target`; None withdraws."""
    version, card = (target.version, target.card) if target else (None, "")
    return Release(0, model, kind, version, card, by, at=utc_now(), reason=reason, approval=None, previous="")


def _not_yet(release: Release, why: TryAgain | OutOfReach) -> TryAgain | ConfigError:
    """The release stays: that it is late does not mean that it cannot be served."""
    model, version = release.model, release.version
    if isinstance(why, OutOfReach):
        said = f"release {release.number} of {model} stays, but the API cannot serve it: {why}"
        return ConfigError(said, hint=f"{start_again(model)}; nothing was reverted")
    if release.kind == "promotion":
        again = "the same command checks it again"
    else:  # the same command without --to would go one version further back
        again = f"`trainyard rollback {model} --to {version}` checks it again"
    return TryAgain(
        f"release {release.number} of {model} (version {version}) stays, but the API does not serve it everywhere yet: "
        f"{why}",
        hint=f"{again}, and changes nothing else; nothing was reverted, because nothing has failed",
    )


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
    back = None
    try:
        back = _append_revert(store, failed, clean(f"release {failed.number} could not be deployed: {why}", 300))
        api.follow(serve_job(config), image_of(store, back), back.number)
    except LostRace:
        return WorkerFailed(f"{said}; a concurrent writer has released another version", hint=hint)
    except PipelineError as error:
        if back and isinstance(error, TryAgain):  # only the wait for it took too long
            return WorkerFailed(f"{said}; {_what_answers(back)}, but not everywhere yet: {error}", hint=hint)
        return WorkerFailed(f"{said}; and the automatic revert failed, too: {error}", hint=hint)
    if failed.approval is not None:
        hint += "; the approval is not used up: until it expires, the same command can be repeated"
    return WorkerFailed(f"{said}; {_what_answers(back)}", hint=hint)


def _what_answers(back: Release) -> str:
    if back.version is None:
        return f"release {back.number} withdrew it, and nothing is live"
    return f"version {back.version} answers as before, now as release {back.number}"


def _append_revert(store: Store, failed: Release, reason: str) -> Release:
    """Append a release of what was live and good before `failed`; a withdrawal when nothing was."""
    good = good_before(releases.releases(store, failed.model))  # with a later release the race is lost, whatever it is
    draft = back_to(good, failed.model, kind="revert" if good else "withdrawal", by=OURSELVES, reason=reason)
    return releases.append_release(store, draft, failed.number)
