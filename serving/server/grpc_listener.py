"""gRPC beside HTTP: the port in the master, the server in each worker. serving.grpc_port is imported after the fork only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from serving.access.checks import refuse_same_port
from serving.access.rate import RateLimit
from serving.access.tls import TlsContext
from serving.job import ServeJob
from serving.proxies import Networks
from serving.server import logs, socket_handoff
from serving.server.limits import exempt
from serving.server.listener import GRPC
from serving.server.lockfile import host_and_port
from serving.server.ports import keep_for_grpc, refuse_without_grpc

if TYPE_CHECKING:
    from serving.calls import Limits
    from serving.grpc_port.server import GrpcServer
    from serving.metrics.counters import WorkerCounters
    from serving.prediction_log.writer import PredictionLog
    from serving.predictors import Predictors
    from serving.spans import Spans


@dataclass(frozen=True, slots=True)
class Parts:
    """What both protocols share in a worker."""

    predictors: Predictors
    limits: Limits
    counters: WorkerCounters
    spans: Spans | None
    prediction_log: PredictionLog | None


class GrpcListener:
    """Of one API, made in the master; all but `target` is for its workers."""

    def __init__(self, job: ServeJob, listener: str, tls: TlsContext | None, rate: RateLimit | None) -> None:
        """`listener` as of serving.server.program; empty: the port is this machine's own. Raises ConfigError."""
        self._job, self._listener, self._tls, self._rate = job, listener, tls, rate
        refuse_same_port(job)
        refuse_without_grpc()
        self._kept = None if listener else keep_for_grpc(job)
        self._server: GrpcServer | None = None

    @property
    def target(self) -> str:
        """What clients on this machine connect to; empty when the port is not this process's own."""
        return host_and_port(*self._kept.getsockname()[:2]) if self._kept else ""

    def load(self, parts: Parts, ready: Callable[[], bool], threads: Callable[[], int]) -> None:
        """Prepare all, and listen to nobody yet. `ready`: whether this worker takes requests over HTTP; `threads`: how many it
        has for them."""
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines are not JSON, and clients can cause them
        from serving.access.control import for_grpc
        from serving.grpc_port.answering import Answering
        from serving.grpc_port.methods import Methods
        from serving.grpc_port.reading import Reading
        from serving.grpc_port.relay import Relay
        from serving.grpc_port.server import GrpcServer
        from serving.grpc_port.threads import Threads
        from serving.protocols.v2.dialect import own_version

        job = self._job
        answering = Answering(
            parts.limits,
            parts.counters,
            Reading(parts.limits.body, job.timeout_seconds),
            Threads(threads),
            for_grpc(job, self._rate),
            parts.spans,
            parts.prediction_log,
            Networks(job.trusted_proxies),
            exempt(job.trusted_proxies),
            write_access=logs.write_access,
        )
        methods = Methods(parts.predictors, parts.limits, own_version()).all()
        relay = Relay(partial(socket_handoff.ask_for, self._listener, GRPC), ready) if self._listener else None
        self._server = GrpcServer(answering, methods, parts.limits.body, max(1, job.timeout_seconds - 1), relay)

    def start(self) -> None:
        """Listen, from now on."""
        assert self._server
        credentials = None
        if self._tls:
            from serving.grpc_port.credentials import credentials as made

            credentials = made(self._tls, self._job.certfile, self._job.keyfile)
        host, port = self._kept.getsockname()[:2] if self._kept else ("127.0.0.1", 0)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server.start(where, credentials, shared=self._kept is not None)

    def begin_stop(self) -> None:
        """Take nothing new; what has begun is answered."""
        if self._server:
            self._server.begin_stop()

    def close(self) -> None:
        """Wait for that."""
        if self._server:
            self._server.close()
