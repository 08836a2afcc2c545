"""What the settings of `[console]` must agree on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

from pipelines.config.console_sections import Console

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
HOST = re.compile(r"[A-Za-z0-9.\-]+|(?=.*:.*:)[0-9A-Fa-f:]+")
ADDRESS = re.compile(r"https?://([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
LONGEST = 200


def problems(console: Console) -> Iterator[str]:
    """What is wrong with values of the right type."""
    if not HOST.fullmatch(console.host):
        yield f"console.host: {console.host!r:.200} is not a host or an address; its port is console.port"
    yield from _address(console)
    for each in console.trusted_proxies:
        try:
            ip_network(each)
        except ValueError as error:
            yield f"console.trusted_proxies: {error}; an address (10.0.0.7) or a network (10.0.0.0/8) is needed"
    for name in ("user_header", "email_header"):
        if not HEADER.fullmatch(text := getattr(console, name)):
            yield f"console.{name}: {text!r:.200} is not the name of a header"
    for each in console.roles:
        if not each.strip() or not each.isprintable() or len(each) > LONGEST:
            yield f"console.roles: {each!r:.100} is not a name; write a login, a mail address, or * for everybody"
    if console.sign_in == "proxy" and not console.trusted_proxies:
        yield 'console.sign_in: "proxy" needs console.trusted_proxies: without it anybody could send the header'
    yield from _oidc(console)


def _address(console: Console) -> Iterator[str]:
    if console.url and not ADDRESS.fullmatch(console.url.rstrip("/")):
        yield f"console.url: {console.url!r:.200} is not https://host or https://host:port; a path is not possible"
        return
    shown = urlsplit(console.url)
    if shown.scheme == "http" and (shown.hostname or "") not in LOOPBACK:
        yield f"console.url: {console.url} is not https: passwords and sessions would be readable on the way"
    if console.host not in LOOPBACK and shown.scheme != "https":
        yield (
            f"console.host: {console.host} is not the loopback interface, and the console speaks no TLS itself: put a proxy "
            'in front of it, and set console.url = "https://…"'
        )


def _oidc(console: Console) -> Iterator[str]:
    if console.sign_in != "oidc":
        yield from (
            f'console.{name}: is for console.sign_in = "oidc"'
            for name in ("oidc_issuer", "oidc_client_id")
            if getattr(console, name)
        )
        return
    issuer = urlsplit(console.oidc_issuer)
    if issuer.scheme != "https" and not (issuer.scheme == "http" and (issuer.hostname or "") in LOOPBACK):
        yield f"console.oidc_issuer: {console.oidc_issuer!r:.200} is not the https address of an OpenID provider"
    if not console.oidc_client_id:
        yield "console.oidc_client_id: missing: what the OpenID provider calls this console"
    if not console.url and not console.port:
        yield "console.port: the OpenID provider must know where to lead back: set it, or console.url"
