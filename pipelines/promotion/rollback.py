"""Back to an earlier version: a new release of it. Nothing is trained, and nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import image_of, serve_job
from pipelines.promotion.follow import back_to, check_again, deploy
from pipelines.promotion.over import must_be_over
from registry import candidates, releases
from registry.errors import ConfigError, Rejected
from registry.records import Release
from registry.releases import History
from registry.stores import Store
from registry.undo import live_before


def rollback(  # noqa: PLR0913  (what the command says)
    store: Store, config: Config, model: str, to: int | None, by: str, reason: str, *, over: int = 0
) -> Release:
    """Make an earlier version live again: `to`, else the one that was live before the current one.

    `over`: the number of the release that the caller has looked at; 0: any. Raises ConfigError when there is none, Rejected
    when it was never released with an approval, or another release was made meanwhile, Corrupt when its bytes were altered,
    each before anything is written; TryAgain and WorkerFailed as `promote` does.
    """
    known = releases.read_history(store, model)
    history = known.releases
    if not history:
        raise ConfigError(f"no version of {model} was released yet", hint="`trainyard promote` releases a candidate")
    current = history[-1]
    target = release_before(history) if to is None else _released(known, to)
    _must_be_approved(known, target)
    if (current.version, current.card) == (target.version, target.card):
        return check_again(store, config, current)
    must_be_over(current, over)
    assert target.version is not None
    candidates.local_folder(store, "production", model, target.version, target.card)
    api, image = open_deployment(config), image_of(store, target)
    api.start(serve_job(config), image)
    draft = back_to(target, model, kind="rollback", by=by, reason=reason or "rolled back")
    release = releases.append_release(store, draft, current.number)
    return deploy(store, config, api, release, image)


def release_before(history: Sequence[Release]) -> Release:
    """What a rollback without a version goes back to; raises ConfigError when there is nothing. See `registry.undo`."""
    if release := live_before(history):
        return release
    current = history[-1].version
    what = "nothing is live" if current is None else f"version {current} is live"
    raise ConfigError(
        f"{what}, and nothing was live before",
        hint=f"`trainyard registry history {history[0].model}` shows all releases; --to N names one",
    )


def _must_be_approved(known: History, target: Release) -> None:
    """A rollback needs no new approval: it goes to what people have approved before, and nowhere else."""
    if any(
        known.was_approved(each)
        for each in known.releases.having("card", target.card)
        if each.version == target.version
    ):
        return
    given = {each.number: (each.version, each.card) for each in known.approvals}
    approved = {
        given[each.approval]
        for each in known.releases
        if each.approval is not None and {given.get(number) for number in each.approvals} == {(each.version, each.card)}
    }
    versions = sorted({version for version, _ in approved})
    raise Rejected(
        f"{known.model} version {target.version} was never approved, so it cannot be rolled back to",
        hint=f"approved and released: {_list(versions)}; a new version needs `trainyard promote` and an approval",
    )


def _released(known: History, version: int) -> Release:
    if found := known.releases.having("version", version):
        return found[-1]
    versions = sorted({each.version for each in known.releases if each.version is not None})
    raise Rejected(
        f"{known.model} version {version} was never released, so it cannot be rolled back to",
        hint=f"released: {_list(versions)}; a new version needs `trainyard promote` and an approval",
    )


def _list(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
