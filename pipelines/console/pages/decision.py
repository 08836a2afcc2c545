"""The page on which a person decides about a candidate: what changes, what was tried, and then yes, no, or not like this."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from flask import Blueprint, Response, abort, flash, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as Answer

from pipelines.console import audit
from pipelines.console.decisions import deciding, drawings, view
from pipelines.console.decisions.facts import Known, read_known, read_registered, waiting
from pipelines.console.decisions.links import address_of_commit
from pipelines.console.decisions.promoting import Promotion
from pipelines.console.decisions.state import (
    REFUSABLE,
    State,
    approval_by,
    meanwhile,
    state_of,
    why_not_approve,
)
from pipelines.console.needs import can, installation, needs
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import decisions
from registry.decisions import DecidedMeanwhile
from registry.errors import ConfigError
from registry.records import Approval, DecisionKind, utc_now

page = Blueprint("decision", __name__)
MOST_VERSION = 999_999_999
MOST_REASON = 1000
"""Characters."""
AGAIN = 4
"""Seconds after which the browser asks again, as long as a promotion runs."""
KINDS: dict[str, DecisionKind] = {"approve": "approved", "reject": "rejected", "changes": "changes asked"}
Choice = Literal["approve", "reject", "changes", "continue"]


@page.get("/models/<model>/decision")
@needs("see")
def choose(model: str) -> str | Answer:
    """The versions that wait; the page of the only one at once."""
    found = waiting(g.place.store, g.place.config)
    if len(found) == 1:
        return redirect(url_for("decision.show", model=model, version=found[0]), 303)
    return render_template("decisions.html", versions=found)


@page.get("/models/<model>/decision/<int:version>")
@needs("see")
def show(model: str, version: int) -> Response:  # noqa: ARG001  (the address has both)
    """All that is known, and the form. It decides nothing."""
    _must_be_ours(version)
    return _page(version)


@page.post("/models/<model>/decision/<int:version>")
@needs("decide")
def decide(model: str, version: int) -> Response | Answer:
    """What the form says, once: the page again with the reason when it cannot be done."""
    _must_be_ours(version)
    choice = request.form.get("choice", "")
    reason = clean(request.form.get("reason", ""), MOST_REASON)
    over, seen = (_number(request.form.get(name, "")) for name in ("over", "seen"))
    if choice not in {*KINDS, "continue"} or over is None or seen is None:
        abort(400, "The form is not one of this page. Reload the page and decide again.")
    promotion = Promotion(installation().home, model, version)
    _, known = _registered(version, running=promotion.progress().running)
    if changed := meanwhile(known, over, request.form.get("card", "")):
        return _page(version, changed=changed, reason=reason, status=409)
    policy, now = g.place.config.approval, datetime.now(UTC)
    state, mine = state_of(known, policy, now), _mine(known_at=utc_now(), known=known)
    if choice == "continue":
        if state.kind not in {"approved", "live"}:
            return _page(version, problem="There is nothing to continue.", status=409)
        audit.record("continue", model, f"version {version}")
        return _promoting(model, version, over)
    if choice == "approve" and (no := why_not_approve(known, state, mine, policy, now)):
        return _page(version, problem=no, reason=reason, status=409)
    if choice != "approve" and state.kind not in REFUSABLE:
        return _page(version, problem="It cannot be refused now.", reason=reason, status=409)
    if choice != "approve" and not reason:
        return _page(version, missing="Say why: those who made it will read it.", status=422)
    return _decided(version, known, deciding.Choice(KINDS[choice], reason, over, seen), mine)


def _decided(version: int, known: Any, choice: deciding.Choice, mine: Approval) -> Response | Answer:
    """Written down, and begun; or who was first."""
    model, config = g.place.name, g.place.config
    said = f"version {version}: {decisions.WORDS[choice.kind]}"
    audit.record(choice.kind, model, f"{said}{f' ({choice.reason})' if choice.reason else ''}")
    try:
        deciding.write_decision(open_registry(config), known, choice, mine, g.person.how)
    except DecidedMeanwhile as error:
        first = error.first
        words = f"{first.by} has decided a moment before you: version {version} was {decisions.WORDS[first.kind]}."
        return _page(version, changed=words, reason=choice.reason, status=409)
    if choice.kind != "approved":
        flash(f"Version {version} was {decisions.WORDS[choice.kind]}. What is live stays as it is.", "good")
        return redirect(url_for("decision.show", model=model, version=version), 303)
    return _promoting(model, version, choice.over)


def _promoting(model: str, version: int, over: int) -> Answer:
    config = g.place.config
    begun = deciding.promote_if_approved(open_registry(config), config, installation().home, version, over)
    if not begun:
        flash(f"Your approval of version {version} is recorded.", "good")
    return redirect(url_for("decision.show", model=model, version=version), 303)


def _page(
    version: int, *, changed: str = "", problem: str = "", missing: str = "", reason: str = "", status: int = 200
) -> Response:
    config = g.place.config
    try:
        known = read_known(g.place.store, config, installation().home, version)
    except ConfigError:
        abort(404)
    now, registered = datetime.now(UTC), known.registered
    state = state_of(registered, config.approval, now)
    mine = _mine(utc_now(), registered)
    text = render_template(
        "decision.html",
        known=known,
        state=state,
        policy=config.approval,
        changed=changed,
        problem=problem,
        missing=missing,
        reason=reason,
        why_not=why_not_approve(registered, state, mine, config.approval, now) if can("decide", config.model) else "",
        refusable=state.kind in REFUSABLE,
        answers=can("see answers", config.model),
        words=decisions.WORDS,
        **_shown(known, state),
    )
    answer = make_response(text, status)
    if state.kind == "promoting":
        here = url_for("decision.show", model=config.model, version=version)
        answer.headers["Refresh"] = f"{AGAIN}; url={here}"  # an address with a fragment would not be loaded again
    return answer


def _shown(known: Known, state: State) -> dict[str, Any]:
    """The texts and drawings."""
    found, policy = known.candidate.evaluation, known.candidate.verdict.policy
    verdict, tone = view.verdict(known)
    compared = found.comparison.live_version if found.comparison else known.live_version
    names = (f"version {known.candidate.version}", f"version {compared}" if compared is not None else "nothing")
    return {
        "verdict": verdict,
        "tone": tone,
        "title": TITLES[state.kind],
        "customers": list(view.for_customers(known)),
        "measured": view.measured(found, policy.measure),
        "slices": view.sliced(found, policy.measure),
        "images": drawings.of(found, policy, names),
        "tried": view.tried(known),
        "failed": view.failed(known),
        "risks": list(view.risks(known)),
        "looks_at": view.looks_at(known),
        "compared": names[1],
        "commits": list(_commits(known)),
    }


TITLES = {
    "waiting": ("Waits for a decision", "warn"),
    "more needed": ("Waits for another approval", "warn"),
    "approved": ("Approved, and not live", "warn"),
    "promoting": ("Being made live", "plain"),
    "live": ("Live", "good"),
    "was live": ("Was live before", "plain"),
    "refused": ("Refused", "bad"),
    "not tested": ("Not tested yet", "plain"),
    "failed tests": ("Failed its tests", "bad"),
}


def _commits(known: Known) -> Any:
    """Repository, commit, address, subject and author of what is new; without the run's folder only the commits."""
    config, sources = g.place.config, known.candidate.sources
    for repository in ("code", "dataset", "tests"):
        url = config.repositories.address_of(repository)
        news = next((each for each in known.changes if each.repository == repository), None)
        for each in news.commits[: view.MOST] if news else ():
            yield (
                repository,
                each.sha[:8],
                address_of_commit(url, each.sha),
                clean(each.subject, 120),
                clean(each.author, 60),
            )
        if news and (more := news.more + len(news.commits[view.MOST :])):
            yield repository, "", "", f"… and {more} more", ""
        if news is None:
            sha = getattr(sources, repository)
            nothing = "nothing new" if known.changes else "as of this commit"
            yield repository, sha[:8], address_of_commit(url, sha), nothing, ""


def _registered(version: int, *, running: bool) -> Any:
    try:
        return read_registered(g.place.store, g.place.config, version, running=running)
    except ConfigError:
        abort(404)


def _mine(known_at: str, known: Any) -> Approval:
    return approval_by(known, g.person.name, g.person.email, g.person.how, known_at)


def _must_be_ours(version: int) -> None:
    """A number that a version can have; and who came by the link of a mail sees just the version that it was about."""
    if version > MOST_VERSION or (g.person.only and g.person.only != f"{g.place.name}/{version}"):
        abort(404)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
