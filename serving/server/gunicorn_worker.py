"""gunicorn's thread worker with the reading and writing of serving.server.receiver. What it relies on: serving.server.gunicorn_adapter."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.http.body import LengthReader
from gunicorn.http.parser import RequestParser
from gunicorn.sock import ssl_context
from gunicorn.workers.gthread import ThreadWorker

from serving.metrics.counters import WorkerCounters
from serving.request_ids import RequestIds
from serving.server import logs
from serving.server.connection import Connection
from serving.server.connection_balance import NOT_ACCEPTING, WorkerConnections
from serving.server.gunicorn_errors import refusal_for
from serving.server.limits import Limits
from serving.server.quick import LogReader, QuickRequests
from serving.server.receiver import Receiver
from serving.server.refusals import Refusal
from serving.wsgi_keys import REQUEST_ID

NAP = 0.001
"""Seconds for which a waiting connection is left to other workers before the next check."""
TICK = 0.5
"""Seconds between two signs of life."""
PUBLISH = 2.0
"""Seconds until what this process uses is published again."""
AT_ONCE = 16
"""Connections that are accepted in one turn of the main loop."""
BEYOND = 64
"""Connections that are accepted although all others are being answered."""
SKIPPED = 1 << 20
"""Bytes of an unread body that are skipped at once."""
LARGE = 256 << 10
"""Bytes of a request from which on only as many as `[serving] threads` are answered at once: reading one takes memory."""
NO_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
NO_LISTENER = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP}


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's thread worker, but its threads never wait for a client, and it has a balanced number of connections.

    gunicorn's own reads requests and sends answers in the threads that call the app: as many slow clients as there are
    threads stop all answers. Here serving.server.receiver does both, in the main loop, and a thread gets a request when it
    is complete. gunicorn's parser and its way to call the app are used as they are.

    It is also the EventLoop of serving.server.socket_handoff.
    """

    connections: WorkerConnections
    """Set in the master, before the fork, as are `limits` and `counters`."""
    limits: Limits
    counters: WorkerCounters
    on_tick: Callable[[], None] | None = None
    """Called at least every second, unless the worker is stopping."""
    tpool: ThreadPoolExecutor
    """gunicorn's, or another one: see `resize_pool`."""
    threads: Callable[[], int] | None = None
    """How many threads there shall be now; None: as many as gunicorn has made."""
    on_stop: Callable[[], None] | None = None
    """Called once, when it begins to stop."""
    receiver: Receiver | None = None
    """From `run` on."""
    _published = False
    """Whether other workers see the load, and may leave connections to this one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._nap_until = 0.0
        self._notified = self._publish_at = 0.0
        self._ids = RequestIds()
        self._pool_size = self.cfg.threads
        self._large = threading.BoundedSemaphore(self.cfg.threads)
        self.quick = QuickRequests()
        """Those that the main loop answers itself."""
        self._log_reader = LogReader()

    def run(self) -> None:
        """Called by gunicorn."""
        self.receiver = Receiver(
            self.poller, self.limits, self.enqueue_req, self.refuse, self.counters.closed, time.perf_counter
        )
        # The receiver closes one connection for another; gunicorn stops accepting when all are being answered.
        self.worker_connections = self.limits.connections + BEYOND
        super().run()

    @property
    def nr_conns(self) -> int:
        """The connections that are open."""
        return self.receiver.count if self.receiver else 0

    @nr_conns.setter
    def nr_conns(self, _count: int) -> None:
        """Called by gunicorn's constructor."""

    @property
    def _load(self) -> int:
        return self.receiver.load if self.receiver else 0

    def accept(self, listener: Any) -> None:
        """Called by gunicorn when a client connects. Many may have: one per turn of the main loop would keep the last waiting."""
        name = listener.getsockname()
        tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        for _ in range(AT_ONCE):
            if not self._accept_one(listener, name, tls):
                return

    def _accept_one(self, listener: Any, name: Any, tls: ssl.SSLContext | None) -> bool:
        """Whether there may be another one for this worker."""
        assert self.receiver
        if self.nr_conns >= self.worker_connections:
            return False
        if self.connections.should_wait(self._load):
            self._nap()
            return False
        try:
            client, address = listener.accept()
        except OSError as error:  # mostly there is none, as another worker was quicker, or the client has gone
            if error.errno in NO_FILES:
                self.receiver.close_oldest()
                self._nap()
            elif error.errno in NO_LISTENER:
                raise
            return False
        self.receiver.add(client, address, name, tls)
        self.connections.publish(self._load)
        return True

    def _nap(self) -> None:
        super().set_accept_enabled(False)
        self._nap_until = time.monotonic() + NAP

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  (gunicorn calls it so)
        """Called by gunicorn's main loop, whenever it is not as wanted."""
        if enabled and time.monotonic() < self._nap_until:
            return
        self._nap_until = 0.0
        super().set_accept_enabled(enabled)
        self._published = enabled
        self.connections.publish(self._load if enabled else NOT_ACCEPTING)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Called by gunicorn's main loop; `timeout` in seconds."""
        assert self.receiver
        if self.on_stop and not self.alive:
            self.on_stop()
            self.on_stop = None
        timeout = min(timeout, self.receiver.sweep(stopping=not self.alive))
        if self._nap_until:
            timeout = min(timeout, max(0.0, self._nap_until - time.monotonic()))
        super().wait_for_and_dispatch_events(0.0 if self.quick else timeout)
        if self.quick:
            self._answer_quick()
        if self._published:
            self.connections.publish(self._load)

    def enqueue_req(self, conn: Any) -> None:
        """Called by the receiver for a request that a thread is to answer, or the main loop itself."""
        if not self.quick.take(conn):
            super().enqueue_req(conn)

    def _answer_quick(self) -> None:
        """Those that wait for the main loop; by threads, when a line of the log could block this one."""
        assert self.receiver
        if not self._log_reader.takes_lines():
            for conn in self.quick.all():
                super().enqueue_req(conn)
        answered = self.quick.answered(self._answer)
        for conn, keep in answered:  # not each at once: its client would take the core from those that wait
            self.receiver.answered(conn, keep=keep)

    def handle(self, conn: Any) -> bool:
        """Called by gunicorn in a thread of the pool, with a Connection. Whether it may be kept."""
        if len(conn.input) < LARGE:
            keep = self._answer(conn)
        else:
            with self._large:
                keep = self._answer(conn)
        conn.flush()
        return keep

    def _answer(self, conn: Any) -> bool:
        conn.taken_at = time.perf_counter()
        request: Any = None
        keep = False
        try:
            parser = RequestParser(self.cfg, conn, conn.client)
            request = next(parser)
            _hand_over_body(parser, request, conn)
            keep = self.handle_request(request, conn)
        except Exception as error:  # noqa: BLE001  (a thread of the pool may not end, and each client gets an answer)
            conn.output.clear()
            self.handle_error(request, conn, conn.client, error)
        try:
            while keep and request.body.read(SKIPPED):
                pass
            keep = keep and conn.finish_request(len(parser.unreader.take_buffered()))
        except (OSError, errors.ParseException):
            keep = False
        return keep

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Called by `handle`."""
        if any(name == "TRANSFER-ENCODING" and value.lower() != "chunked" for name, value in req.headers):
            raise errors.UnsupportedTransferCoding(
                "only chunked is"
            )  # gunicorn would take compressed bytes for the body
        req._expected_100_continue = False  # noqa: SLF001  (the receiver has sent it)
        if not conn.complete or self.connections.should_shed(self._load):
            req.force_close()  # the answer says so
        return bool(super().handle_request(req, conn))

    def finish_request(self, conn: Any, fs: Future[bool]) -> None:
        """Called by gunicorn in the main loop, after `handle`."""
        assert self.receiver
        self.receiver.answered(conn, keep=not fs.cancelled() and fs.result())

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Called by `handle`, for a request that did not get to the app or that the app left without an answer."""
        refusal = refusal_for(exc)
        given = next((value for name, value in req.headers if name == "X-REQUEST-ID"), "") if req else ""
        request_id = self._ids.choose(given)
        if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("request %s failed", request_id, exc_info=exc)
        environ = {"REQUEST_METHOD": req.method, "PATH_INFO": req.path} if req else {}
        client.sendall(self._log_refusal(refusal, request_id, addr, environ))

    def refuse(self, conn: Connection, refusal: Refusal) -> bytes:
        """The answer of a request that no thread gets to see."""
        return self._log_refusal(refusal, self._ids.choose(""), conn.client, {})

    def _log_refusal(self, refusal: Refusal, request_id: str, client: Any, environ: dict[str, Any]) -> bytes:
        self.counters.refused(refusal.status, refusal.reason)
        answer = refusal.answer(request_id)
        remote = str(client[0]) if isinstance(client, tuple) else ""
        environ |= {REQUEST_ID: request_id, "REMOTE_ADDR": remote}
        logs.write_access(environ, refusal.status, len(answer), 0.0)
        return answer

    def notify(self) -> None:
        """Called by gunicorn's main loop at every turn."""
        now = time.monotonic()
        if now - self._notified < TICK:
            return
        self._notified = now
        super().notify()
        if self.receiver:
            self.counters.queue("thread", self.receiver.waiting)
        if now >= self._publish_at:
            self._publish_at = now + PUBLISH
            self.counters.publish_process()
        if self.on_tick and self.alive:
            self.on_tick()
        if self.threads:
            self.resize_pool(self.threads())

    def resize_pool(self, threads: int) -> None:
        """Have that many threads from the next request on; to be called in the main thread. Those before it are answered."""
        if threads != self._pool_size:
            before, self.tpool, self._pool_size = self.tpool, ThreadPoolExecutor(threads), threads
            before.shutdown(wait=False)

    def heartbeat(self) -> bool:
        """Keep the master from killing a worker that is still starting; False when it is to stop."""
        super().notify()
        return bool(self.alive)

    def watch(self, channel: socket.socket, callback: Callable[[socket.socket], None]) -> None:
        """See EventLoop."""
        self.poller.register(channel, selectors.EVENT_READ, callback)

    def unwatch(self, channel: socket.socket) -> None:
        """See EventLoop."""
        with contextlib.suppress(KeyError, ValueError):  # a stopping or a full worker has done it
            self.poller.unregister(channel)

    def add_listener(self, listener: socket.socket) -> None:
        """See EventLoop."""
        self.sockets.append(listener)
        if self._accepting:  # else it is watched with the others, when the worker accepts again
            self.watch(listener, self.accept)

    def remove_listener(self, listener: socket.socket) -> None:
        """See EventLoop."""
        self.unwatch(listener)
        self.sockets.remove(listener)


def _hand_over_body(parser: RequestParser, request: Any, conn: Any) -> None:
    """Give the app a body that is there whole at once: gunicorn's own reader copies it eight times."""
    reader = request.body.reader
    if isinstance(reader, LengthReader):
        ahead = parser.unreader.take_buffered()
        if body := conn.whole_body(reader.length, len(ahead)):
            request.body = body
        else:
            parser.unreader.unread(ahead)
