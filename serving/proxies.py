"""Proxies in front of the API: what they say about the client counts, and what anyone else says about itself does not."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MOST_IN_A_ROW = 10
"""Proxies that one request may have come through."""


class Networks:
    """Addresses and networks, as `[serving] trusted_proxies` lists them."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Raises ValueError for what is neither."""
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(each) for each in texts]
        self._holds = functools.lru_cache(1024)(self._look_up)

    def __contains__(self, address: str) -> bool:
        """Whether the address is one of them; what is not an address (a Unix socket's client has none) is not."""
        return bool(self._networks) and self._holds(address)

    def _look_up(self, address: str) -> bool:
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped:  # as a socket for both families has it
            found = found.ipv4_mapped
        return any(found in each for each in self._networks)


def client_behind(address: str, forwarded_for: str, trusted: Networks) -> str:
    """The client of a request that came from `address`: behind trusted proxies the last one in `X-Forwarded-For` that is not
    one of them."""
    given = [each.strip() for each in forwarded_for.split(",")][-MOST_IN_A_ROW:]
    while address in trusted and given and given[-1]:
        address = given.pop()
    return address


class TrustedProxies:
    """WSGI middleware: `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` of requests that a trusted proxy sent.

    From anyone else these headers are as any other that the API does not know. With several trusted proxies in a row the
    client is the last address in `X-Forwarded-For` that is not one of them.
    """

    def __init__(self, app: WSGIApplication, trusted: Networks) -> None:
        self._app, self._trusted = app, trusted
        self._by_hops = [
            ProxyFix(app, x_for=hops, x_proto=1, x_host=1, x_prefix=1) for hops in range(1, MOST_IN_A_ROW + 1)
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Called by the server for each request."""
        if environ.get("REMOTE_ADDR", "") not in self._trusted:
            return self._app(environ, start_response)
        hops = 0
        for address in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")[1:]):
            if address.strip() not in self._trusted or hops == MOST_IN_A_ROW - 1:
                break
            hops += 1
        return self._by_hops[hops](environ, start_response)
