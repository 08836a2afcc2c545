"""The operator's port: a few threads in each server process, apart from those that answer predictions.

All server processes accept from one socket, so one that is busy or gone does not matter. Prediction clients cannot fill
it: it is another port, on the loopback interface unless `[serving] admin_host` says otherwise. It needs no gunicorn:
Prometheus' own client library serves its pages in the same way.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import sys
import threading
import time
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from serving.access.tls import TlsContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication

BACKLOG = 64
MOST = 16
"""Connections at once per server process; further ones are closed."""
QUIET = 5.0
"""Seconds that a client may send nothing."""
SECONDS = 10.0
"""Until the connection of a request that is not answered is closed."""
TICK = 0.5
ASK_AGAIN = 1.0
log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """The operator's listening socket; raises OSError when it cannot be had. Made in the master, before workers are forked."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)  # another server process may be the first to accept
    return listener


def serve(listener: socket.socket, app: WSGIApplication, tls: TlsContext | None = None) -> None:
    """Answer at `listener` in threads of this process, as long as it lives."""
    server = AdminServer(listener, app, tls=tls)
    threading.Thread(target=server.serve, name="admin", daemon=True).start()


def serve_handed(
    ask: Callable[[], tuple[socket.socket, socket.socket] | None], app: WSGIApplication, tls: TlsContext | None = None
) -> None:
    """As `serve`, at the listener that `ask` gives, with the channel that ends when it is to be asked again."""

    def follow() -> None:
        while True:
            if found := ask():
                listener, channel = found
                with channel, listener:
                    listener.setblocking(False)
                    AdminServer(listener, app, channel, tls).serve()
            else:
                time.sleep(ASK_AGAIN)

    threading.Thread(target=follow, name="admin", daemon=True).start()


class AdminServer(ThreadingMixIn, WSGIServer):
    """One thread per connection, one request per connection, both limited."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        app: WSGIApplication,
        channel: socket.socket | None = None,
        tls: TlsContext | None = None,
    ) -> None:
        """`channel`: `serve` returns when its other side closes it."""
        super().__init__(("", 0), QuietHandler, bind_and_activate=False)
        self.socket.close()
        self.socket, self._channel, self.timeout = listener, channel, 0
        name = listener.getsockname()
        self.server_name, self.server_port = (str(name[0]), int(name[1])) if isinstance(name, tuple) else ("", 0)
        self._tls = tls
        self.setup_environ()
        self.set_app(app)
        self._since: dict[Any, float] = {}

    def serve(self) -> None:
        """Answer until the channel ends."""
        with selectors.DefaultSelector() as selector:  # select() knows 1024 descriptors, and clients may have more
            for each in filter(None, (self.socket, self._channel)):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(TICK)}
                if self._channel in ready:  # nothing is ever sent: its other side has gone
                    return
                if ready:
                    self.handle_request()
                self._close_overdue()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Called by socketserver when a client connects; an OSError is taken for no client."""
        client, address = super().get_request()
        client.settimeout(QUIET)
        if len(self._since) >= MOST:
            client.close()
            raise OSError("too many connections")
        if self._tls:  # the handshake is made with the first read, in the thread of the request
            client = self._tls.current().wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        self._since[client] = time.monotonic()
        return client, address

    def shutdown_request(self, request: Any) -> None:
        """Called by socketserver when a request is done."""
        self._since.pop(request, None)
        super().shutdown_request(request)

    def _close_overdue(self) -> None:
        for client, since in list(self._since.items()):
            if since < time.monotonic() - SECONDS:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or writes

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called by socketserver inside the handling of an exception: mostly the client has gone."""
        del request
        log.info("the operator's port: a request of %s broke off: %r", client_address, sys.exception())


class QuietHandler(WSGIRequestHandler):
    """Writes no line per request: Prometheus asks all day."""

    timeout = QUIET

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name of the standard library)
        """Called by http.server."""

    def address_string(self) -> str:
        """Without asking a name server."""
        return str(self.client_address[0]) if self.client_address else ""
