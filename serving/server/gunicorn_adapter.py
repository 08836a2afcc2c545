"""What relies on how gunicorn works inside, beyond its documented settings and server hooks. Tried with gunicorn 27.0.1.

All of it is in this module, and in gunicorn_worker.py and gunicorn_errors.py beside it.

Before another version is pinned in requirements.txt, run tests/serving: test_gunicorn_adapter.py holds that the names
below exist, the others that they are used as below.

| gunicorn's own | what is relied on |
| --- | --- |
| `ThreadWorker.run()` | the main loop, called after the fork and after `post_worker_init` |
| `ThreadWorker.nr_conns` | assigned by the constructor; read by the loop, which stops accepting at `worker_connections`, and ends at 0 when it is stopping |
| `ThreadWorker.worker_connections` | see above; read by the loop |
| `ThreadWorker.accept(listener)` | called by the loop when a client connects; need not accept |
| `ThreadWorker.set_accept_enabled(enabled)` | starts and ends watching `sockets`; called by the loop while `_accepting` is not as wanted |
| `ThreadWorker._accepting` | whether `sockets` are watched |
| `ThreadWorker.sockets` | the list of listening sockets; closed at the end |
| `ThreadWorker.poller` | a selector whose data is called with the file object; there from init_process() on |
| `ThreadWorker.wait_for_and_dispatch_events(timeout)` | one turn of the loop, at most `timeout` seconds; also when it is stopping |
| `ThreadWorker.enqueue_req(conn)` | called by the receiver, in the main thread: lets the thread pool call `handle`, and after that the main thread `finish_request` |
| `ThreadWorker.tpool` | the thread pool, made before `post_worker_init`; read at each request and at the end, so another one may take its place |
| `ThreadWorker.handle(conn)` | pool thread: its result is that of the future |
| `ThreadWorker.finish_request(conn, fs)` | main thread; `fs` is the future |
| `ThreadWorker.handle_request(req, conn)` | pool thread: calls the app and writes its answer to `conn.sock`; whether the connection may be kept. Of `conn` it takes `sock`, `client` and `server` |
| `ThreadWorker.handle_error(req, client, addr, exc)` | answers to a request that did not get to the app; its result is not used |
| `ThreadWorker.notify()` | called by the loop at every turn, also when it is stopping; keeps the master from killing it |
| `ThreadWorker.alive` | false from SIGTERM on |
| `ThreadWorker.pid` | the process, in `child_exit` too |
| `ThreadWorker.cfg` | the Config |
| `ThreadWorker.log` | the Logger |
| `RequestParser.unreader` | reads by `recv(size)` of what the parser was made with |
| `Unreader.take_buffered()` | what was received after what was read |
| `Unreader.unread(data)` | gives it back |
| `Request.headers` | pairs of names in capitals and values |
| `Request.method` | as sent |
| `Request.path` | as sent |
| `Request.body` | the rest of it can be read, also after the app; what the app reads, so another file may take its place |
| `Body.reader` | a `LengthReader` for a body of known length |
| `LengthReader.length` | how much of it was not read yet |
| `Request.force_close()` | the answer says `Connection: close` |
| `Request._expected_100_continue` | whether `handle_request` sends `100 Continue` |
| `environ["gunicorn.socket"]` | the `sock` of the connection |
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
| `Logger.access(resp, req, environ, request_time)` | called once per request that got to the app; `request_time` is a timedelta |
| `errors.NoMoreData` | a request, or the part of it that has come, ends early |
| `errors.ParseException` | what is wrong with a request's head or chunks; its text says what |
| `errors.LimitRequestLine` | the first line is too long |
| `errors.LimitRequestHeaders` | a header field is, or there are too many |
| `errors.ExpectationFailed` | an `Expect` other than `100-continue` |
| `errors.UnsupportedTransferCoding` | a transfer coding that is not read |
| `sock.ssl_context(conf)` | what the hook `ssl_context` returns, for one connection |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from serving.server import logs
from serving.server.gunicorn_worker import Worker

WORKER_CLASS = "serving.server.gunicorn_worker.Worker"
LOGGER_CLASS = "serving.server.gunicorn_adapter.JsonLogger"


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
