"""Signing in at an OpenID provider: authorization code with PKCE, state and nonce, by Authlib, which is imported only for that."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask

from pipelines.config.console_sections import Console
from pipelines.console.person import Person
from registry.dataclass import dataclass
from registry.errors import Rejected, TryAgain

log = logging.getLogger(__name__)
SECONDS = 10
"""For one answer of the provider."""
MOST_TOKEN = 8000
"""Characters of an identity token that is kept for the sign-out."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What the provider vouches for."""

    person: Person
    token: str
    """Which session at the provider ends with ours; empty when it is too long to be kept."""


class Provider:
    """The OpenID provider of the settings."""

    def __init__(self, app: Flask, settings: Console, secret: str, address: str) -> None:
        """`address`: where browsers reach this console."""
        from authlib.integrations.flask_client import OAuth

        self._settings, self._address = settings, address.rstrip("/")
        self._client = OAuth(app).register(
            "provider",
            client_id=settings.oidc_client_id,
            client_secret=secret or None,
            server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "default_timeout": SECONDS,
                "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
            },
        )

    def begin(self) -> Any:
        """The answer that leads to the provider's own page; raises TryAgain when it does not answer."""
        return self._asked(lambda: self._client.authorize_redirect(f"{self._address}/sign-in/oidc/back"))

    def finish(self) -> SignedIn:
        """Who has come back from there; raises Rejected for whom it does not vouch."""
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError

        try:
            token = self._asked(self._client.authorize_access_token)
        except (AuthlibBaseError, JoseError, KeyError, ValueError) as error:
            raise Rejected(f"the OpenID provider's answer does not count: {error}") from error
        claims = token.get("userinfo")
        if not claims or str(claims.get("iss", "")).rstrip("/") != self._settings.oidc_issuer.rstrip("/"):
            raise Rejected("the OpenID provider has sent no identity of its own")
        said = str(token.get("id_token", ""))
        return SignedIn(person_of(claims, self._settings.oidc_claim), said if len(said) <= MOST_TOKEN else "")

    def goodbye(self, token: str) -> str:
        """The address that ends the session at the provider; empty when it has none."""
        metadata = self._asked(self._client.load_server_metadata)
        if not metadata.get("end_session_endpoint"):
            return ""
        made = self._client.create_logout_url(
            f"{self._address}/sign-in", token or None, client_id=self._settings.oidc_client_id
        )
        return str(made["url"])

    @staticmethod
    def _asked(question: Any) -> Any:
        import requests

        try:
            return question()
        except requests.RequestException as error:
            raise TryAgain(f"the OpenID provider of [console] oidc_issuer does not answer: {error}") from error


def person_of(claims: Any, claim: str) -> Person:
    """The person of an identity; raises Rejected without the claim that names one, or with an address that nobody has verified."""
    email = str(claims.get("email") or "") if claims.get("email_verified") is True else ""
    name = email if claim == "email" else str(claims.get(claim) or "")
    if not name.strip() or not (name + email).isprintable() or max(len(name), len(email)) > 200:
        what = "a verified mail address" if claim == "email" else f"the claim {claim!r}"
        raise Rejected(f"the OpenID provider has not sent {what}", hint="[console] oidc_claim names another claim")
    return Person(name, email, "oidc")
