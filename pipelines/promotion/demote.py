"""Out of production: a release without a version. The API then answers that nothing is live; nothing is removed."""

from __future__ import annotations

from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import image_of, serve_job
from pipelines.promotion.follow import back_to
from pipelines.promotion.over import must_be_over
from registry import heads, releases
from registry.errors import ConfigError, PipelineError, TryAgain
from registry.records import Release
from registry.stores import Store


def demote(store: Store, config: Config, by: str, reason: str, over: int = 0) -> Release:
    """Have nothing live of the config's model; gives the release, also when nothing was live already.

    `over`: the number of the release that the caller has looked at; 0: any. Raises ConfigError when nothing was released yet,
    Rejected when another one is live by now, TryAgain when a concurrent writer has released, or the API still answers.
    """
    model = config.model
    current = releases.latest(store, model)
    if current is None:
        raise ConfigError(f"no version of {model} was released yet", hint="`trainyard promote` releases a candidate")
    if current.version is None:  # again, after an interrupt
        heads.write_head(store, model, [])
        return _followed(store, config, current)
    must_be_over(current, over)
    draft = back_to(None, model, kind="demotion", by=by, reason=reason or "taken out of production")
    return _followed(store, config, releases.append_release(store, draft, current.number))


def _followed(store: Store, config: Config, made: Release) -> Release:
    """The same, once the API that runs here answers by it. It is not started for that, nor is anything undone."""
    if config.serving.deploy == "jenkins":  # it runs elsewhere, and follows the registry
        return made
    api = open_deployment(config)
    try:
        if api.running():
            api.follow(serve_job(config), image_of(store, made), made.number)
    except PipelineError as error:
        raise TryAgain(
            f"release {made.number} of {made.model} (nothing is live) stays, but the API may still answer: {error}",
            hint=f"`trainyard demote {made.model}` checks it again; `trainyard serve {made.model} --stop` stops the API",
        ) from None
    return made
