"""Sign in and out."""

from __future__ import annotations

import logging

from flask import Blueprint, abort, g, make_response, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from pipelines.console import audit, cookies
from pipelines.console.person import Person
from pipelines.console.services import Services, services
from registry.errors import Rejected, TryAgain
from serving.access.addresses import client_network

log = logging.getLogger(__name__)
page = Blueprint("sign_in", __name__)
LONGEST = 500
WRONG = "Name or password are not right."


@page.get("/sign-in")
def form() -> str | Response:
    """The way to sign in that this installation has."""
    back = local_path(request.args.get("next", ""))
    if g.person:
        return redirect(back, 303)
    return render_template("sign_in.html", way=services().installation.settings.sign_in, back=back, name="", wrong="")


@page.post("/sign-in")
def by_password() -> str | Response | tuple[str, int]:
    """Name and password of a local user."""
    if services().installation.settings.sign_in != "password":
        abort(404)
    name, password = request.form.get("name", "").strip()[:LONGEST], request.form.get("password", "")
    back = local_path(request.form.get("next", ""))
    address = client_network(request.remote_addr or "")
    keys = Keys(services(), name, address)
    if keys.wait():
        return _again(back, name, f"Too many tries. Wait {keys.wait() / 60:.0f} minutes, then try again."), 429
    keys.failed()  # so that many at the same moment are not more
    user = services().users.check(name, password)
    if user is None:
        services().audit.append(name[:100], "password", request.remote_addr or "", "sign in failed", "", "")
        return _again(back, name, WRONG), 403
    keys.succeeded()
    return _signed_in(Person(user.name, user.email, "password"), back)


@page.get("/sign-in/oidc")
def to_provider() -> Response:
    """Leads to the OpenID provider's own page."""
    provider = services().provider or abort(404)
    answer: Response = provider.begin()
    session["next"] = local_path(request.args.get("next", ""))
    return answer


@page.get("/sign-in/oidc/back")
def from_provider() -> Response:
    """Where the provider leads back to."""
    provider = services().provider or abort(404)
    back = local_path(session.get("next", ""))
    try:
        signed_in = provider.finish()
    except Rejected as error:
        log.warning("a sign-in was refused: %s", error)
        services().audit.append("", "oidc", request.remote_addr or "", "sign in failed", "", "")
        abort(403, "The OpenID provider's answer does not count here. The console's log has the reason; try once more.")
    return _signed_in(signed_in.person, back, signed_in.token)


@page.post("/sign-out")
def out() -> str | Response:
    """The session ends on the server, too; and at the OpenID provider."""
    if g.person:
        audit.record("sign out", "", "")
    there = _goodbye()
    answer = redirect(url_for("sign_in.form"), 303)
    if there:  # a redirect after a form may lead to our own pages only
        answer = make_response(render_template("signed_out.html", there=there))
        answer.headers["Refresh"] = f"0; url={there}"
    return cookies.end(answer)  # type: ignore[arg-type]


def _goodbye() -> str:
    provider = services().provider
    if provider is None or not g.session or g.person.how != "oidc":
        return ""
    try:
        return provider.goodbye(g.session.ends_at_provider)
    except TryAgain as error:  # the session ends here in any case
        log.warning("signed out here only: %s", error)
        return ""


def _signed_in(person: Person, back: str, at_provider: str = "") -> Response:
    services().audit.append(person.shown, person.how, request.remote_addr or "", "sign in", "", "")
    return cookies.begin(redirect(back, 303), person, at_provider)  # type: ignore[arg-type]


class Keys:
    """Under what the tries of a name from an address are counted."""

    def __init__(self, of: Services, name: str, address: str) -> None:
        self._of, self._name, self._address = of, f"{name.casefold()} {address}", address

    def wait(self) -> float:
        """Seconds until the next try; 0: now."""
        return max(self._of.by_name.wait(self._name), self._of.by_address.wait(self._address))

    def failed(self) -> None:
        """One more."""
        self._of.by_name.add(self._name)
        self._of.by_address.add(self._address)

    def succeeded(self) -> None:
        """It was not a failure. The name begins anew; the address does not: it may have tried others."""
        self._of.by_name.clear(self._name)
        self._of.by_address.take_back(self._address)


def local_path(text: str) -> str:
    """A path of this console; the start page for anything else, that could lead elsewhere."""
    plain = text.isprintable() and "\\" not in text and len(text) <= LONGEST
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


def _again(back: str, name: str, wrong: str) -> str:
    return render_template("sign_in.html", way="password", back=back, name=name, wrong=wrong)
