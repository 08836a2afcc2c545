"""Whether a request is answered: the rules, without I/O, clocks or servers. serving.access.control asks them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from serving.access.addresses import client_network
from serving.access.tokens import Role, Token
from serving.errors import Refused

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^][:/@?#,\s]+))(?::[0-9]*)?")
"""What comes after the name is shown in addresses: `localhost:x@elsewhere` leads elsewhere."""
OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/grpc.health.v1.Health/Check"})
"""For whoever watches the API: a load balancer has no token, and calls it by its address."""
PREFLIGHT_SECONDS = 600
MAY: dict[Role, str] = {"predict": "predict", "feedback": "give feedback", "operate": "operate"}
HEADERS = "authorization, content-type, traceparent, tracestate, x-request-id"
"""What a web page of an allowed origin may send."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of a request."""

    hosts: frozenset[str] | None = None
    """Names in the Host header, in lower case; None: any."""
    origins: frozenset[str] = frozenset()
    """Of web pages that may ask from a browser, e.g. `https://shop.example`."""
    role: Role | None = None
    """What a token must allow; None: no token is asked for."""
    roles: dict[str, Role] = field(default_factory=dict)
    """The same for single paths, where a token is asked for."""


class Asked(NamedTuple):  # a frozen dataclass takes four times as long to make, and there is one per request
    """What the rules look at. `address` is the client's, behind trusted proxies the one that they name."""

    method: str
    path: str
    host: str
    address: str = ""
    authorization: str = ""
    origin: str = ""
    preflight: bool = False
    """An OPTIONS request of a browser, on behalf of a web page, that asks whether it may ask."""


class Decision(NamedTuple):
    """`refused` says why a request is not answered; without it, it is."""

    refused: Refused | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """For the answer, whatever it is."""
    client: str = ""
    """The name of the token."""
    counts_as: str = ""
    """Whose request it is, for the rate; empty: it does not count."""
    preflight: bool = False
    """It is answered already: by `headers` alone."""


def decide(asked: Asked, rules: Rules, find: Callable[[str], Token | None]) -> Decision:
    """The decision about one request; `find` gives the record of a token that holds now."""
    if asked.path in OPEN_PATHS:
        return Decision()
    by_address = f"address {client_network(asked.address)}"
    if rules.hosts is not None and host_name(asked.host) not in rules.hosts:
        return Decision(_wrong_host(asked.host), counts_as=by_address)
    headers = _cors(asked, rules)
    if asked.preflight:
        return _preflight(asked, rules, headers)
    if rules.role is None:
        return Decision(None, headers, counts_as=by_address)
    scheme, _, given = asked.authorization.partition(" ")
    token = find(given.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        return Decision(_unknown(asked), headers, counts_as=by_address)
    role = rules.roles.get(asked.path, rules.role)
    if role not in token.roles:
        return Decision(_wrong_role(role), headers, token.name, f"token {token.sha256}")
    return Decision(None, headers, token.name, f"token {token.sha256}")


def too_many(seconds: float) -> Refused:
    """429: the client asks more often than it may."""
    return Refused(
        429,
        "too many requests",
        hint="see Retry-After; send more instances in one request",
        headers=(("Retry-After", str(max(1, round(seconds + 0.5)))),),
    )


@functools.lru_cache(256)
def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; empty for what is not a name and a port."""
    found = HOST.fullmatch(header.strip().lower())
    return (found[1] or found[2].removesuffix(".")) if found else ""


def _cors(asked: Asked, rules: Rules) -> tuple[tuple[str, str], ...]:
    """For every answer, allowed or not: a cache must not give one origin's answer to another. Never with `*`, and
    without credentials: a browser's cookies are nothing that the API knows."""
    if not rules.origins:
        return ()
    vary = (("Vary", "Origin"),)
    if asked.origin not in rules.origins:
        return vary
    shown = ("Access-Control-Expose-Headers", "X-Request-Id, traceparent, Retry-After")
    return (*vary, ("Access-Control-Allow-Origin", asked.origin), shown)


def _preflight(asked: Asked, rules: Rules, headers: tuple[tuple[str, str], ...]) -> Decision:
    counts_as = f"address {client_network(asked.address)}"
    if asked.origin not in rules.origins:
        refused = Refused(403, "a web page of this origin may not ask the API", hint="add it to [serving] cors_origins")
        return Decision(refused, headers, counts_as=counts_as)
    allowed = (
        ("Access-Control-Allow-Methods", "GET, POST"),
        ("Access-Control-Allow-Headers", HEADERS),
        ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
    )
    return Decision(None, (*headers, *allowed), counts_as=counts_as, preflight=True)


def _wrong_host(header: str) -> Refused:
    shown = (host_name(header) or header.strip())[:100]
    return Refused(
        421,
        f"Host: {shown!r} is not a name of this API",
        hint="whoever runs it can add the name to [serving] allowed_hosts",
    )


def _unknown(asked: Asked) -> Refused:
    """The header itself is shown nowhere: it may be a secret for something else."""
    if not asked.authorization:
        return Refused(
            401,
            "a token is needed",
            hint="send `Authorization: Bearer TOKEN`; whoever runs the API makes one with `trainyard token make`",
            headers=(("WWW-Authenticate", 'Bearer realm="trainyard"'),),
        )
    return Refused(
        401,
        "this token does not hold: it is unknown, revoked or expired",
        hint="it is unknown, revoked or expired: whoever runs the API makes another one with `trainyard token make`",
        headers=(("WWW-Authenticate", 'Bearer realm="trainyard", error="invalid_token"'),),
    )


def _wrong_role(role: Role) -> Refused:
    return Refused(
        403,
        f"this token does not allow to {MAY[role]}",
        hint=f"whoever runs the API makes one that does: `trainyard token make NAME --role {role}`",
        headers=(("WWW-Authenticate", f'Bearer realm="trainyard", error="insufficient_scope", scope="{role}"'),),
    )
