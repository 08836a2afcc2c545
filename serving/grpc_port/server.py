"""The gRPC server of one server process: an event loop in a thread of its own. Made after the fork."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio

from serving.grpc_port.answering import Answering
from serving.grpc_port.methods import Method
from serving.grpc_port.reading import received_at_most
from serving.grpc_port.relay import Relay

CONNECTIONS = 1024
"""Of clients at once, in one server process."""
STREAMS = 128
"""Requests at once on one connection; a client waits with more by itself."""
AGE_SECONDS = 300
"""A client connects again after so long, perhaps to another server process, and sees a new certificate."""
START_SECONDS = 30.0


class GrpcServer:
    """Listens from `start` on, until `begin_stop`."""

    def __init__(
        self,
        answering: Answering,
        methods: Mapping[str, Method],
        max_body: int,
        seconds: int,
        relay: Relay | None = None,
    ) -> None:
        """`seconds` that requests in flight have when it stops; `relay` brings clients, where it cannot listen for them."""
        self._answering, self._methods, self._max_body, self._seconds = answering, methods, max_body, seconds
        self._relay = relay
        if relay:
            answering.address_of = relay.client_of
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._listening, self._problem = threading.Event(), ""
        self._thread = threading.Thread(target=self._run, name="grpc", daemon=True)
        self.port = 0

    def start(self, address: str, credentials: Any = None, *, shared: bool = True) -> None:
        """Listen at `address`, `host:port`, and return. `shared`: with other processes (SO_REUSEPORT). Raises OSError."""
        self._address, self._credentials, self._shared = address, credentials, shared
        self._thread.start()
        if not self._listening.wait(START_SECONDS) or self._problem:
            raise OSError(f"gRPC: cannot listen on {address}: {self._problem or 'it did not start'}")

    def begin_stop(self) -> None:
        """Take nothing new; what has begun is answered. May be called twice."""
        if self._loop and self._stop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        """`begin_stop`, and wait until all is answered or the time is up."""
        if self._thread.is_alive():
            self.begin_stop()
            self._thread.join(self._seconds + 2.0)
        self._answering.threads.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers((_Handlers(self._answering, self._methods),))
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(self._address)
            else:
                self.port = server.add_secure_port(self._address, self._credentials)
            await server.start()
        except RuntimeError as error:
            self._problem = str(error)[:200]
            return
        self._listening.set()
        relaying = asyncio.create_task(self._relay.run(self.port)) if self._relay else None
        await self._stop.wait()
        if relaying:
            relaying.cancel()
        await server.stop(self._seconds)
        if self._relay:
            await self._relay.drained(1.0)

    def _options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.so_reuseport", int(self._shared)),
            ("grpc.max_receive_message_length", received_at_most(self._max_body)),  # also of what is inflated
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", STREAMS),
            ("grpc.max_allowed_incoming_connections", CONNECTIONS),
            ("grpc.max_connection_age_ms", AGE_SECONDS * 1000),
            ("grpc.max_connection_age_grace_ms", self._seconds * 1000),
            ("grpc.server_handshake_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every method takes a stream of one message: so it is called before the message is there."""

    def __init__(self, answering: Answering, methods: Mapping[str, Method]) -> None:
        self._handlers = {
            path: grpc.stream_unary_rpc_method_handler(functools.partial(_answer, answering, path, method))
            for path, method in methods.items()
        }

    def service(self, details: Any) -> Any:
        """Called by grpc; None: there is no such method, which is answered UNIMPLEMENTED."""
        return self._handlers.get(details.method)


async def _answer(answering: Answering, path: str, method: Method, _messages: Any, context: Any) -> bytes:
    return await answering.answer(path, method, context)
