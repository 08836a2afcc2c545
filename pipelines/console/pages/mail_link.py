"""Where the link of a mail leads. Mail scanners open links: only the button on this page signs anybody in."""

from __future__ import annotations

from flask import Blueprint, abort, g, redirect, render_template, request
from werkzeug.wrappers import Response

from pipelines.approvals.mail_links import Link, read_link
from pipelines.approvals.tokens import approval_secret
from pipelines.console.cookies import begin
from pipelines.console.roles import may
from pipelines.console.services import services
from pipelines.console.sign_in.mail_link import person_of
from registry import candidates
from registry.errors import Rejected

page = Blueprint("mail_link", __name__)


@page.get("/link/<token>")
def show(token: str) -> str | Response:
    """Who has signed in gets to the decision; else a page that says what the button does."""
    link = _read(token)
    if g.person or services().installation.settings.mail_link != "decide":
        return redirect(_decision(link), 303)
    if services().links.is_used(link):
        abort(403, "This link was used before: it signs in once. Sign in, or ask for a new one.")
    return render_template("mail_link.html", link=link)


@page.post("/link/<token>")
def use(token: str) -> Response:
    """Sign the reader of the mail in, for this decision."""
    if services().installation.settings.mail_link != "decide":
        abort(404)
    link = _read(token)
    place = services().installation.models[link.model]
    if candidates.manifest_digest(place.store, link.model, link.version) != link.card:
        abort(403, "The version is not the one that the mail was about any more.")
    person = person_of(link)
    if not may(services().installation.roles_of(person), "decide", link.model):
        abort(403, f"{link.to} may not decide about {link.model}: an admin of this installation can change that.")
    try:
        services().links.use(link)
    except Rejected as error:
        abort(403, f"{error}; {error.hint}.".capitalize())
    services().audit.append(
        person.shown, person.how, request.remote_addr or "", "sign in", link.model, f"version {link.version}"
    )
    return begin(redirect(_decision(link), 303), person)  # type: ignore[arg-type]


def _read(token: str) -> Link:
    installation = services().installation
    try:
        link = read_link(approval_secret(installation.home.parent), token, installation.settings.link_hours)
    except Rejected as error:
        abort(403, f"{error}; {error.hint}.".capitalize())
    if link.model not in installation.models:
        abort(404)
    return link


def _decision(link: Link) -> str:
    return f"/models/{link.model}/decision/{link.version}"
