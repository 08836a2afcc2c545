"""From test to production: approvals and the gate are checked, the bytes are copied, a release is appended, the API follows."""

from __future__ import annotations

from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import image_for, serve_job
from pipelines.promotion.approve import must_be_approved, must_be_unused, read_approval, recorded_approval
from pipelines.promotion.compare import Compared, Measure, compare_with_live, must_hold
from pipelines.promotion.follow import check_again, deploy
from pipelines.promotion.request import RECORDED, Request
from registry import candidates, heads, releases
from registry.decisions import must_not_be_refused
from registry.errors import Rejected
from registry.records import Candidate, Release, utc_now
from registry.stores import Store


def promote(store: Store, config: Config, request: Request, measure: Measure) -> Release:
    """Make an approved candidate live; gives the release, also when it was live already.

    Raises Rejected (the approval does not hold, the candidate is not accepted, was refused by a person, or is worse than what is
    live) and Corrupt (altered bytes) before anything is written, Rejected once the approval is recorded when more people must approve;
    TryAgain when a concurrent writer has released; WorkerFailed when the API could not load it, after an automatic
    revert to what was live before.
    """
    model, version = request.model, request.version
    heads.must_be_whole(store, model)
    candidate, digest = candidates.read_manifest(store, model, version)
    approval = None if request.approval == RECORDED else read_approval(config, request, digest)
    _must_be_accepted(store, candidate, digest)
    candidates.local_folder(store, "test", model, version, digest)
    history = releases.read_history(store, model)
    current = history.latest
    if current and (current.version, current.card) == (version, digest):
        return check_again(store, config, current)
    _must_replace(current, request)
    must_not_be_refused(store, model, digest)
    approval = approval or recorded_approval(config, candidate, digest, history)
    must_be_unused(approval, history)
    approved = must_be_approved(store, config, candidate, approval, history)
    found = compare_with_live(candidate, current, measure, anyway=bool(request.although))
    must_hold(candidate, current, found, request.although)
    must_not_be_refused(store, model, digest)  # measuring takes its time
    api, image = open_deployment(config), image_for(candidate.served)
    api.start(serve_job(config), image)  # reports a port in use or a broken set-up before anything is written
    releases.copy_to_production(store, model, version)
    by = approval.by if request.approval == RECORDED else request.by
    draft = _draft(request, by, digest, approved.append(store, history), found)
    release = releases.append_release(store, draft, current.number if current else 0, history)
    return deploy(store, config, api, release, image)


def _draft(request: Request, by: str, digest: str, approvals: tuple[int, ...], found: Compared) -> Release:
    numbers = ", ".join(map(str, approvals))
    reason = f"promoted with approval{'s' if len(approvals) > 1 else ''} {numbers}"
    reason = f"{reason}, {request.reason}" if request.reason else reason
    return Release(
        number=0,
        model=request.model,
        kind="promotion",
        version=request.version,
        card=digest,
        by=by,
        at=utc_now(),
        reason=f"{reason}; not compared: {found.note}" if found.note else reason,
        approval=approvals[0],
        previous="",
        also_approved=approvals[1:],
        compared=found.comparison,
        failed=found.failed,
        although=request.although if found.failed else "",
    )


def _must_replace(current: Release | None, request: Request) -> None:
    number = current.number if current else 0
    if request.over not in {0, number}:
        raise Rejected(
            f"release {number} has replaced release {request.over} meanwhile",
            hint="a person decides: `trainyard promote` with the token of the mail",
        )


def _must_be_accepted(store: Store, candidate: Candidate, digest: str) -> None:
    model, version = candidate.model, candidate.version
    name = f"{model} version {version}"
    if not candidate.verdict.accepted:
        raise Rejected(f"the gate rejected {name}: {'; '.join(candidate.verdict.reasons)}")
    tested = [each for each in candidates.acceptances(store, model, version) if each.card == digest]
    if not tested:
        raise Rejected(
            f"{name} has had no acceptance test yet", hint="`trainyard run tests` runs it, for the newest version"
        )
    if not tested[-1].accepted:
        raise Rejected(
            f"{name} failed its newest acceptance test (tests {tested[-1].tests:.8}): {'; '.join(tested[-1].reasons)}",
            hint="correct the model or the tests and push; the next mail brings a new approval",
        )
