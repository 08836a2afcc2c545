"""From test to production: the approval is checked, the bytes are copied, a release is appended, the API follows."""

from __future__ import annotations

from pathlib import Path

from pipelines.approval import approval_secret, check_token
from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import image_for, serve_job
from pipelines.promotion.follow import check_again, deploy
from registry import candidates, releases
from registry.errors import Rejected
from registry.records import Approval, Candidate, Release, utc_now
from registry.releases import History
from registry.stores import Store


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
        return check_again(store, config, current)
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
    return deploy(store, config, api, release, image)


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
    """An approval makes one release that serves. One that has made none yet was stopped halfway, or its release failed and
    was reverted: its promotion resumes, or is tried again."""
    for approval in history.approvals.having("token", token_id):
        if made := history.release_with(approval.number):
            raise Rejected(
                f"this approval was used for release {made.number} at {made.at}, which is not live any more",
                hint=f"`trainyard rollback {made.model} --to {made.version}` makes version {made.version} live again",
            )
