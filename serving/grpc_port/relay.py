"""Connections from a listening socket that another process holds, brought to the gRPC server: it can only listen by itself.

For a worker in a container without network, which gets the socket from serving.server.listener. Runs in the server's event
loop; the server listens on the loopback interface, which nobody else is on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable

Handed = tuple[socket.socket, socket.socket]
CHUNK = 1 << 16
TICK = 0.5
log = logging.getLogger(__name__)


class Relay:
    """Accepts while `ready()`. `ask` gives the listening socket, and a channel that ends with whoever holds it; or None."""

    def __init__(self, ask: Callable[[], Handed | None], ready: Callable[[], bool]) -> None:
        self._ask, self._ready = ask, ready
        self._clients: dict[str, str] = {}

    def client_of(self, peer: str) -> str:
        """The address of the client, by `address:port` of the connection that the server sees."""
        return self._clients.get(peer, "")

    async def run(self, port: int) -> None:
        """Bring clients to `port` until cancelled; those that are connected then stay."""
        while True:
            handed = await asyncio.to_thread(self._ask) if self._ready() else None
            if handed:
                await self._accept(*handed, port)
            await asyncio.sleep(TICK)

    async def drained(self, seconds: float) -> None:
        """Wait until no client is connected; to be called when the server has closed its connections."""
        until = time.monotonic() + seconds
        while self._clients and time.monotonic() < until:  # noqa: ASYNC110  (there is no event)
            await asyncio.sleep(0.02)

    async def _accept(self, listener: socket.socket, channel: socket.socket, port: int) -> None:
        """Until the channel ends, or the worker cannot answer any more."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._connect(reader, writer, port)

        listener.setblocking(False)
        channel.setblocking(False)
        server = await asyncio.start_server(connected, sock=listener)
        try:
            while self._ready() and not _has_ended(channel):  # noqa: ASYNC110  (neither has an event)
                await asyncio.sleep(TICK)
        finally:
            server.close()
            channel.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            log.warning("a client over gRPC was not connected: %s", error)
            writer.close()
            return
        own = "{}:{}".format(*inner_writer.get_extra_info("sockname"))
        name = writer.get_extra_info("peername")
        self._clients[own] = str(name[0]) if isinstance(name, tuple) else ""
        ways = [asyncio.ensure_future(_copy(*way)) for way in ((reader, inner_writer), (inner_reader, writer))]
        try:
            await asyncio.wait(
                ways, return_when=asyncio.FIRST_COMPLETED
            )  # one side has closed, and has all that it sent
            for each in (inner_writer, writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
        finally:
            for way in ways:
                way.cancel()
            del self._clients[own]


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()


def _has_ended(channel: socket.socket) -> bool:
    try:
        return channel.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
