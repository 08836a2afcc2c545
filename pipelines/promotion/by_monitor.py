"""`[monitoring] auto_promote`: a version that a retraining after an alarm has made is released without a person.

It is the promotion that a person makes, with an approval that says who gave it: all gates hold. What a person could weigh and
a machine cannot is refused: a version that was not compared on recent predictions, another release that is live by now, a
version that was live before, an API that does not run.
"""

from __future__ import annotations

from pathlib import Path

from pipelines import gate
from pipelines.approvals.policy import MONITOR
from pipelines.approvals.tokens import approval_secret, make_token
from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.promotion.promote import promote
from pipelines.promotion.request import Request
from registry import candidates, releases
from registry.dataclass import dataclass
from registry.errors import PipelineError, Rejected, TryAgain
from registry.records import Candidate, Evaluation, Release
from registry.stores import Store

BY = "the monitor"
SETTING = "[monitoring] auto_promote"
BY_A_PERSON = "a person decides: `trainyard promote`, with the token of the mail"


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why, and on whose machine."""

    why: str
    """Which run and which alarm, for the records."""
    login: str
    late: str = ""
    """Why it is too late to begin; empty when it is not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    release: Release | None
    """What is live now, if it is the version."""
    problem: str = ""
    """Why the version is not live, or what prevents that it answers everywhere."""


def promote_by_monitor(store: Store, config: Config, version: int, asked: Occasion) -> Outcome:
    """Promote it, unless it is live already.

    Raises TryAgain when nothing has changed and it may succeed later.
    """
    model = config.model
    try:
        candidate, digest = candidates.read_manifest(store, model, version)
        history = releases.read_history(store, model)
        current = history.latest
        if current is None or (current.version, current.card) != (version, digest):
            if asked.late:
                raise Rejected(asked.late, hint=BY_A_PERSON)
            if history.releases.having("card", digest):
                raise Rejected(f"version {version} was live before, and is not any more", hint=BY_A_PERSON)
            current = _must_be_comparable(candidate, current)
        elif current.by != BY:
            return Outcome(None, f"it is live already, as release {current.number}, by {current.by}")
        request = Request(
            model,
            version,
            make_token(approval_secret(Path(config.home)), model, version, digest),
            BY,
            f"{MONITOR}by {SETTING}: {asked.why}; {asked.login}",
            reason=f"by {SETTING}: {asked.why}",
            over=current.number,
        )
        return Outcome(_where_it_runs(store, config, request))
    except PipelineError as error:
        live = _live(store, model, version)
        if live is None and isinstance(error, TryAgain) and not asked.late:
            raise
        return Outcome(live, str(error))


def _must_be_comparable(candidate: Candidate, current: Release | None) -> Release:
    """The release that it was compared with; raises Rejected for any other."""
    compared = candidate.evaluation.comparison
    if current is None or current.version is None or compared is None:
        raise Rejected("it was not compared with a release that is live now", hint=BY_A_PERSON)
    if compared.live_version != current.version:
        raise Rejected(
            f"it was compared with version {compared.live_version}, and version {current.version} is live by now",
            hint=BY_A_PERSON,
        )
    if few := gate.not_compared_on_recent(candidate.evaluation, candidate.verdict.policy):
        raise Rejected(f"it was not compared on recent predictions: {few}", hint=BY_A_PERSON)
    return current


def _where_it_runs(store: Store, config: Config, request: Request) -> Release:
    """As `promote`, where an API runs: one that the monitor has started would end with it."""
    if open_deployment(config).running() is None:
        raise Rejected(
            f"the API of {config.model} does not run here", hint=f"`trainyard serve {config.model}` starts it"
        )
    return promote(store, config, request, _not_measured)


def _not_measured(_candidate: Candidate, live: Release) -> Evaluation:
    """Nothing is measured: what was not compared with the live release is refused before, and `over` lets no other one be."""
    raise Rejected(f"release {live.number}, of version {live.version}, was made meanwhile", hint=BY_A_PERSON)


def _live(store: Store, model: str, version: int) -> Release | None:
    """What is live, if it is this version, by the monitor; None, too, when that cannot be read."""
    try:
        found = releases.live(store, model)
    except PipelineError:
        return None
    return found if found and (found.version, found.by) == (version, BY) else None
