"""Forms are sent by our own pages only: a signed token bound to the browser's session, and what the browser says itself.

A page of another site can neither read the token nor have one for this session; `Sec-Fetch-Site` says where a request comes
from, and no script of a page can change that.
"""

from __future__ import annotations

import hmac
import secrets

from flask import Request, abort, current_app, g, request, session
from itsdangerous import BadSignature, URLSafeTimedSerializer
from markupsafe import Markup

FIELD = "csrf"
HEADER = "X-CSRF-Token"
SALT = "trainyard.console.form"
VALID = 24 * 3600
"""Seconds: who leaves a form open over night loads it again."""
OWN = {"same-origin", "none"}
"""`none`: the person has typed the address, or reloads."""


def token() -> str:
    """For a form, or the header of a script's request, in this session."""
    return str(_serializer().dumps(_bound_to()))


def field() -> Markup:
    """The hidden field that each form with `method="post"` contains."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token())


def check() -> None:
    """Refuse a request that changes something, with 403, unless it comes from a form of this session."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    if why := problem(request):
        abort(403, why)


def problem(asked: Request) -> str:
    """Why a request is not from a form of this session; empty when it is."""
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None and site not in OWN:
        return "The request came from another site."
    given = asked.headers.get(HEADER) or asked.form.get(FIELD, "")
    try:
        bound = _serializer().loads(given, max_age=VALID)
    except BadSignature:
        bound = None
    if not isinstance(bound, str) or not hmac.compare_digest(bound.encode(), _bound_to().encode()):
        return "The form has expired, or belongs to another session. Go back, reload the page and send it again."
    return ""


def _bound_to() -> str:
    """The session's hash; before the sign-in a random value in a signed cookie."""
    if g.get("session"):
        return str(g.session.id)
    if "form" not in session:
        session["form"] = secrets.token_urlsafe(16)
    return str(session["form"])


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt=SALT)
