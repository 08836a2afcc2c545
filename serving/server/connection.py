"""One client's connection: bytes in, bytes out, without ever waiting.

What has come is kept until a request is whole; then gunicorn's parser reads it from here as from a socket. Its answer is
collected, and sent as far as the client takes it. So no thread waits for a client.
"""

from __future__ import annotations

import socket
import ssl
from io import BytesIO
from typing import Any

from serving.server.heads import Progress, RequestScan
from serving.server.limits import Stage, address_key

RECEIVE, AT_ONCE = 64 << 10, 512 << 10
"""Bytes of one call, and of those made for one connection before it is the turn of others: a large body is read in fewer turns."""
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """Belongs to the main thread, but while a request is answered (Stage.ANSWERING) to a thread of the pool."""

    __slots__ = (
        "_taken",
        "address",
        "client",
        "complete",
        "drained",
        "ended",
        "held",
        "input",
        "keep",
        "max_body",
        "output",
        "progress",
        "scan",
        "server",
        "since",
        "socket",
        "stage",
        "taken_at",
        "until",
        "watched",
    )

    def __init__(
        self, sock: socket.socket, client: Any, server: Any, max_body: int, tls: ssl.SSLContext | None
    ) -> None:
        """`client` and `server` are their addresses, as sockets have them."""
        sock.setblocking(False)
        if tls:
            sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.socket, self.client, self.server, self.max_body = sock, client, server, max_body
        self.address = address_key(client)
        self.input, self.output = bytearray(), bytearray()
        self.scan = RequestScan(max_body)
        self._taken = 0
        self.complete = True
        """Whether all of the request that is answered has come; else the connection is closed after the answer."""
        self.keep = True
        """Whether the connection is kept after the answer."""
        self.ended = False
        """The client sends nothing more, or the connection is broken."""
        self.stage = Stage.HANDSHAKE if tls else Stage.NEW
        self.since, self.progress, self.drained = 0.0, 0, 0
        """When the stage began, the bytes that were moved in it, and those that were thrown away."""
        self.taken_at = 0.0
        """time.perf_counter() when a thread took the request; it waited since `since`."""
        self.until = 0.0
        """When it is closed although the client still sends."""
        self.held = 0
        """Bytes by which it counts as buffered."""
        self.watched = 0
        """The events of the selector that it waits for."""

    def handshake(self) -> bool:
        """Take the next steps of TLS's handshake. Whether it is done; raises OSError when it has failed."""
        try:
            self.socket.do_handshake()  # type: ignore[attr-defined]  # only with TLS
        except NOT_NOW:
            return False
        return True

    def receive(self) -> int:
        """Receive what there is, up to AT_ONCE; how many bytes that were."""
        before = len(self.input)
        try:
            while data := self.socket.recv(RECEIVE):
                self.input += data
                full = len(data) == RECEIVE and len(self.input) - before < AT_ONCE
                if not full and not (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
                    return len(self.input) - before
        except NOT_NOW:
            return len(self.input) - before
        except OSError:
            pass
        self.ended = True
        return len(self.input) - before

    def drain(self) -> int:
        """Throw away what there is, once; how many bytes that were."""
        try:
            count = len(self.socket.recv(RECEIVE))
        except NOT_NOW:
            return 0
        except OSError:
            count = 0
        self.ended = not count
        self.drained += count
        return count

    def flush(self) -> bool:
        """Send what the client takes now. Whether nothing is left to send."""
        while self.output:
            try:
                sent = self.socket.send(self.output)
            except NOT_NOW:
                return False
            except OSError:
                self.ended, self.keep = True, False
                self.output.clear()
                return True
            self.progress += sent
            del self.output[:sent]
        return True

    def look(self) -> Progress:
        """What there is of the next request."""
        return self.scan.look(self.input)

    def finish_request(self, unread: int) -> bool:
        """The request has been read, but for `unread` bytes that were received after it.

        False when that is not where it was thought to end: then nobody knows where the next one begins.
        """
        if self._taken - unread != self.scan.end or not self.complete:
            return False
        del self.input[: self.scan.end]
        self._taken, self.scan = 0, RequestScan(self.max_body)
        return True

    def whole_body(self, length: int, read_ahead: int) -> BytesIO | None:
        """The body, when all of it has come in one piece; it counts as read then. None: it has to be read as it was sent.

        `length` and `read_ahead` are the parser's: how long it takes the body for, and what it has received after the head. Where it
        sees another body than was awaited, nothing is given: `finish_request` must see that.
        """
        if not self.complete or (place := self.scan.in_one_piece) is None:
            return None
        begin, end = place
        if (self._taken - read_ahead, length) != (begin, end - begin) or end > len(self.input):
            return None
        self._taken = end
        with memoryview(self.input) as view:
            return BytesIO(bytes(view[begin:end]))

    def half_close(self) -> None:
        """Send nothing more; the client sees the end after the answer."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    # What gunicorn uses, in a thread of the pool:

    @property
    def sock(self) -> Connection:
        """The socket, as far as gunicorn needs one."""
        return self

    def recv(self, size: int) -> bytes:
        """Of what has been received; nothing more will come."""
        with memoryview(self.input) as view:
            data = bytes(view[self._taken : self._taken + size])
        self._taken += len(data)
        return data

    def sendall(self, data: bytes) -> None:
        """Collected until the answer is complete, so that it leaves in one piece."""
        self.output += data

    def shutdown(self, _how: int) -> None:
        """Called by gunicorn for an answer that failed after its first bytes. None of them has been sent."""
        raise OSError("not yet")

    def close(self) -> None:
        """Called by gunicorn after `shutdown`."""
