"""The settings of `trainyard console`."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pipelines.config.bounds import ONE_OR_MORE, Between
from registry.dataclass import dataclass

Role = Literal["viewer", "labeller", "engineer", "owner", "admin"]


@dataclass(frozen=True, slots=True)
class Console:
    """The web pages over registry, runs, monitor and labels, and who may do what there."""

    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65_535)] = 8600
    """0: any free port, which is printed."""
    url: str = ""
    """Where people reach it, e.g. "https://trainyard.company.example", when a proxy is in front of it."""
    sign_in: Literal["password", "proxy", "oidc"] = "password"
    """Who knows people: `trainyard console users`, a proxy in front that names them in a header, or an OpenID provider."""
    roles: dict[str, Role] = field(default_factory=dict)
    """Name or mail address → role, "*": everybody who has signed in. In a model's own file they are about that model."""
    trusted_proxies: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Addresses and networks of the proxies in front: what they say about the client counts."""
    user_header: str = "X-Forwarded-User"
    """With `sign_in = "proxy"`: where the proxy says who has signed in."""
    email_header: str = "X-Forwarded-Email"
    oidc_issuer: str = ""
    """The provider's address; below it is `/.well-known/openid-configuration`."""
    oidc_client_id: str = ""
    oidc_claim: str = "email"
    """The claim that names a person; `email` counts only when the provider says that it is verified."""
    mail_link: Literal["sign in", "decide"] = "sign in"
    """What the link in the mail that asks for an approval needs: a sign-in, or itself, once."""
    link_hours: Annotated[float, Between(0.1, 24 * 31)] = 72.0
    """With `mail_link = "decide"`: how long the link holds."""
    idle_minutes: Annotated[float, Between(1, 60 * 24 * 7)] = 60.0
    """Without a request for so long, a session ends."""
    session_hours: Annotated[float, Between(0.1, 24 * 31)] = 12.0
    """After so long a session ends in any case."""
    audit_mb: Annotated[int, Between(1, 100_000)] = 100
    """Size of the audit log; the oldest part of it goes first."""
    threads: Annotated[int, Between(2, 256)] = 32
    """Requests at a time."""
