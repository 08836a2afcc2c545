"""What a trusted proxy says about the client and about who has signed in; from anybody else it is removed and logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.config.console_sections import Console
from serving.proxies import Networks, client_behind

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)
USER, EMAIL = "trainyard.user", "trainyard.email"
"""Where the app finds them in the environ; no header has such a name."""
LONGEST = 200
MOST_LOGGED = 1000
"""Addresses; whoever sends the header again and again does not fill the log."""


class ProxyHeaders:
    """WSGI middleware: puts the client's address into REMOTE_ADDR, and who has signed in at the proxy into keys that no header can have."""

    def __init__(self, app: WSGIApplication, settings: Console) -> None:
        self._app, self._trusted = app, Networks(settings.trusted_proxies)
        self._named = {USER: _key(settings.user_header), EMAIL: _key(settings.email_header)}
        self._header, self._logged = settings.user_header, set[str]()
        self._asks = settings.sign_in == "proxy"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Called by the server for each request."""
        address = environ.get("REMOTE_ADDR", "")
        given = {name: environ.pop(key) for name, key in self._named.items() if key in environ}
        forwarded = {key: environ.pop(key) for key in tuple(environ) if key.startswith("HTTP_X_FORWARDED_")}
        if address in self._trusted:
            environ["REMOTE_ADDR"] = client_behind(address, forwarded.get("HTTP_X_FORWARDED_FOR", ""), self._trusted)
            if self._asks:
                environ |= {name: text.strip() for name, text in given.items() if _is_plain(text)}
        elif given and address not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(address)
            log.warning("removed %s from requests of %s, which is not a trusted proxy", self._header, address)
        return self._app(environ, start_response)


def _key(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


def _is_plain(text: str) -> bool:
    return bool(text.strip()) and len(text) <= LONGEST and text.isprintable()
