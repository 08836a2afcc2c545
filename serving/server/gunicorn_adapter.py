"""All that relies on how gunicorn works inside, beyond its documented settings and server hooks. Tried with gunicorn 27.0.1.

Before another version is pinned in requirements.txt, run tests/serving: test_gunicorn_adapter.py holds that the names
below exist, the others that they are used as below.

| gunicorn's own | what is relied on |
| --- | --- |
| `ThreadWorker.nr_conns` | assigned whenever a connection is opened or closed, by the main thread |
| `ThreadWorker.accept(listener)` | called by the loop when a client connects; need not accept |
| `ThreadWorker.set_accept_enabled(enabled)` | starts and ends watching `sockets`; called by the loop while `_accepting` is not as wanted |
| `ThreadWorker._accepting` | whether `sockets` are watched |
| `ThreadWorker.sockets` | the list of listening sockets; closed at the end |
| `ThreadWorker.poller` | a selector whose data is called with the file object; there from init_process() on |
| `ThreadWorker.wait_for_and_dispatch_events(timeout)` | one turn of the loop, at most `timeout` seconds |
| `ThreadWorker.enqueue_req(conn)` | main thread: hands a connection with a request to the thread pool |
| `ThreadWorker.handle(conn)` | pool thread: from the first byte of a request to the last one of its answer |
| `ThreadWorker.handle_request(req, conn)` | pool thread, inside `handle`: calls the app |
| `ThreadWorker.handle_error(req, client, addr, exc)` | pool thread: a request that could not be parsed, or an exception that the app let out; answers, `req` may be None |
| `ThreadWorker.notify()` | called by the loop at least once a second, also when it is stopping; keeps the master from killing it |
| `ThreadWorker.alive` | false from SIGTERM on |
| `ThreadWorker.pid` | the process, in `child_exit` too |
| `ThreadWorker.cfg` | the Config |
| `ThreadWorker.log` | the Logger |
| `TConn.sock` | the connection's socket; the conn itself can be a dictionary's key |
| `TConn.client` | the client's address |
| `Request.headers` | pairs of names in capitals and values, in a request that was parsed |
| `Request.force_close()` | the answer says `Connection: close`, and the connection is closed after it |
| `Response.status` | `200 OK` |
| `Response.sent` | bytes of the body |
| `BaseApplication.load_config()` | called by the constructor; fills `cfg` |
| `BaseApplication.load()` | called in each worker after the fork, before `post_worker_init` |
| `BaseApplication.cfg` | the Config |
| `Config.settings` | the known settings by name |
| `Config.set(name, value)` | sets one |
| `Config.parser()` | an argparse parser that leaves None for what is not given |
| `Config.get_cmd_args_from_env()` | GUNICORN_CMD_ARGS as arguments |
| `Config.worker_class_str` | the worker class by name |
| `Config.is_ssl` | whether a certificate or key is set |
| `Logger.setup(cfg)` | called at start and after a reload; leaves the handlers of `error_log` |
| `Logger.error_log` | a logging.Logger with its handlers and level |
| `errors.ParseException` | what is wrong with a request's head or chunks; its text says what |
| `errors.LimitRequestLine` | the first line is too long |
| `errors.LimitRequestHeaders` | a header field is, or there are too many |
| `errors.ExpectationFailed` | an `Expect` other than `100-continue` |
| `errors.UnsupportedTransferCoding` | a transfer coding that is not read |
| `Logger.access(resp, req, environ, request_time)` | called once per request; `request_time` is a timedelta |
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from serving.request_ids import RequestIds
from serving.server import logs
from serving.server.connection_balance import NOT_ACCEPTING, WorkerConnections
from serving.server.refusals import Refusal
from serving.wsgi_keys import REQUEST_ID

WORKER_CLASS = "serving.server.gunicorn_adapter.Worker"
LOGGER_CLASS = "serving.server.gunicorn_adapter.JsonLogger"
NAP = 0.001
"""Seconds for which a waiting connection is left to other workers before the next check."""


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's thread worker with a deadline for every request, and with a balanced number of connections.

    A thread reads one request, answers it and waits for the client all the while. A timeout on the socket bounds one read
    or write only: a client that sends a byte now and then, or never reads what it asked for, would occupy its thread for
    ever, and a few of them the whole API. So the connection is closed after twice `graceful_timeout`: once to send, once
    to be answered.

    It is also the EventLoop of serving.server.socket_handoff.
    """

    connections: WorkerConnections
    """Set in the master, before the fork."""
    on_tick: Callable[[], None] | None = None
    """Called every second, unless the worker is stopping."""
    _published = False
    """Whether other workers see the number of connections, and may leave some to this one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since: dict[Any, float] = {}
        self._nap_until = 0.0
        self._ids = RequestIds()

    @property
    def nr_conns(self) -> int:
        """The connections that are open, by gunicorn's count; other workers see it."""
        return self._nr_conns

    @nr_conns.setter
    def nr_conns(self, count: int) -> None:
        self._nr_conns = count
        if self._published:
            self.connections.publish(count)

    def accept(self, listener: Any) -> None:
        """Called by gunicorn when a client connects."""
        if self.connections.should_wait(self._nr_conns):
            super().set_accept_enabled(False)
            self._nap_until = time.monotonic() + NAP
        else:
            super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  (gunicorn calls it so)
        """Called by gunicorn's main loop, whenever it is not as wanted."""
        if enabled and time.monotonic() < self._nap_until:
            return
        self._nap_until = 0.0
        super().set_accept_enabled(enabled)
        self._published = enabled
        self.connections.publish(self._nr_conns if enabled else NOT_ACCEPTING)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Called by gunicorn's main loop; `timeout` in seconds."""
        if self._nap_until:
            timeout = min(timeout, max(0.0, self._nap_until - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called by gunicorn in a thread of the pool."""
        if any(name == "TRANSFER-ENCODING" and value.lower() != "chunked" for name, value in req.headers):
            raise errors.UnsupportedTransferCoding(
                "only chunked is"
            )  # gunicorn would take compressed bytes for the body
        if self.connections.should_shed(self._nr_conns):
            req.force_close()  # the answer says so
        return super().handle_request(req, conn)

    def enqueue_req(self, conn: Any) -> None:
        """The time is taken here and not in `handle`, so that slow clients in the queue do not take turns."""
        self._since[conn] = time.monotonic()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Called by gunicorn in a thread of the pool."""
        try:
            return super().handle(conn)
        finally:
            self._since.pop(conn, None)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Called by gunicorn, in a thread of the pool, for a request that did not get to the app."""
        refusal = refusal_for(exc)
        given = next((value for name, value in req.headers if name == "X-REQUEST-ID"), "") if req else ""
        request_id = self._ids.choose(given)
        remote = addr[0] if isinstance(addr, tuple) else ""
        if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("request %s failed", request_id, exc_info=exc)
        else:
            self.log.warning("refused request %s of %s: %s", request_id, remote, refusal.message)
        answer = refusal.answer(request_id)
        environ = {REQUEST_ID: request_id, "REMOTE_ADDR": remote}
        if req:
            environ |= {"REQUEST_METHOD": req.method, "PATH_INFO": req.path}
        logs.write_access(environ, refusal.status, len(answer), 0.0)
        with contextlib.suppress(OSError):  # the client has gone
            client.sendall(answer)

    def notify(self) -> None:
        """Called by gunicorn's main loop every second."""
        super().notify()
        if self.on_tick and self.alive:
            self.on_tick()
        seconds = 2 * self.cfg.graceful_timeout
        for conn, since in list(self._since.items()):
            if since < time.monotonic() - seconds and self._since.pop(conn, None):
                self.log.warning(
                    "closed the connection of %s: its request was not done after %s s", conn.client, seconds
                )
                with contextlib.suppress(OSError):  # the client was quicker
                    conn.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or writes

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


def refusal_for(error: Exception) -> Refusal:
    """What the client is told for a request that did not get to the app, or that the app left without an answer."""
    if isinstance(error, errors.LimitRequestLine):
        return Refusal(414, "the first line of the request is too long", "send data in the body")
    if isinstance(error, errors.LimitRequestHeaders):
        return Refusal(431, "the header section is too large", "send fewer or shorter header fields")
    if isinstance(error, errors.ExpectationFailed):
        return Refusal(417, str(error)[:200], "the only one is 100-continue")
    if isinstance(error, errors.UnsupportedTransferCoding):
        return Refusal(501, "Transfer-Encoding: a coding that is not supported", "the only one is chunked")
    if isinstance(error, errors.ParseException):
        return Refusal(400, f"the request is not valid HTTP: {str(error)[:200]}")
    return Refusal(500, "an error inside the server; it was logged under the request id")


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger, writing as serving.server.logs does."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn at start and after a reload."""
        super().setup(cfg)
        logs.use_handlers(self.error_log.handlers, self.error_log.level)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Called by gunicorn once per request."""
        del req
        status = int(str(resp.status).partition(" ")[0])
        logs.write_access(environ, status, resp.sent, request_time.total_seconds())


@dataclass(frozen=True, slots=True)
class Effective:
    """What some of gunicorn's settings are in the end, with those of GUNICORN_CMD_ARGS."""

    preload: bool
    worker_class: str
    tls: bool
    """Whether a certificate or key is not the one of the settings given."""
    bind: tuple[str, ...]


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with `settings`, and with those of GUNICORN_CMD_ARGS over them. `run` serves until SIGTERM."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        super().__init__()

    def load(self) -> Any:
        """The WSGI app; called in each worker, after the fork."""
        raise NotImplementedError

    def before_fork(self, worker: Worker) -> None:
        """Called in the master, for a worker that is about to be forked."""

    def worker_loaded(self, worker: Worker) -> None:
        """Called in the worker when `load` has returned, before it accepts connections."""

    def worker_ends(self, worker: Worker) -> None:
        """Called in the worker when it ends in order, and not when something ends it."""

    def worker_ended(self, worker: Worker) -> None:
        """Called in the master, however the worker ended."""

    @property
    def effective(self) -> Effective:
        """Settings that another one of GUNICORN_CMD_ARGS may have changed."""
        cfg = self.cfg
        tls = any(getattr(cfg, name) != self._settings.get(name) for name in ("certfile", "keyfile"))
        return Effective(cfg.preload_app, cfg.worker_class_str, tls, tuple(cfg.bind))

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in self._settings.items():
            if name in self.cfg.settings:  # control_socket_disable is unknown to gunicorn before 25.1
                self.cfg.set(name, value)
        extra = self.cfg.parser().parse_args(self.cfg.get_cmd_args_from_env())
        for name, value in vars(extra).items():
            if value is not None and name != "args":
                self.cfg.set(name, value)
        self.cfg.set("pre_fork", lambda _arbiter, worker: self.before_fork(worker))
        self.cfg.set("post_worker_init", self.worker_loaded)
        self.cfg.set("worker_exit", lambda _arbiter, worker: self.worker_ends(worker))
        self.cfg.set("child_exit", lambda _arbiter, worker: self.worker_ended(worker))
