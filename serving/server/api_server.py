"""gunicorn with workers that serve one model: what each worker has, from its fork to its end."""

from __future__ import annotations

import gc
import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving import worker_status
from serving.access.exposure import is_loopback
from serving.access.rate import RateLimit
from serving.access.tls import TlsContext
from serving.job import ServeJob
from serving.kept_folders import KeptFolders
from serving.known_good import KnownGood
from serving.metrics.counters import CounterTable
from serving.preflights import Preflights
from serving.reach import folder_of, is_out_of_reach
from serving.server import admin_listener, lockfile, logs, socket_handoff
from serving.server.connection_balance import SLOTS, ConnectionBalance
from serving.server.for_workers import keep_pages_shared
from serving.server.grpc_listener import GrpcListener, Parts
from serving.server.gunicorn_adapter import GunicornServer
from serving.server.gunicorn_settings import KEEPALIVE, settings, tls_settings
from serving.server.gunicorn_worker import Worker
from serving.server.limits import limits_for
from serving.server.listener import OPERATORS
from serving.server.log_file import LogFile
from serving.server.memory import give_back_what_is_freed
from serving.server.quick import QuickRequests
from serving.server.socket_handoff import SocketHandoff
from serving.worker_crashes import WorkerCrashes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask

    from serving.feedback.taker import FeedbackTaker
    from serving.prediction_log.writer import PredictionLog
    from serving.predictor import Predictor
    from serving.spans import Spans

GC_THRESHOLD = 20_000
"""New objects between two runs of the garbage collector. Python's 700 is less than the lists of one image in JSON, and
a run over them takes as long as parsing them."""


class Server(GunicornServer):
    """gunicorn with workers that serve the model of `job`. `GUNICORN_CMD_ARGS` may add settings, e.g. `--max-requests 10000`."""

    def __init__(
        self,
        job: ServeJob,
        folder: Path,
        bind: str,
        listener: str = "",
        operators: socket.socket | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """`bind` is gunicorn's; `listener` the path of serving.server.listener's Unix socket, if requests come from there.

        `operators` is the socket of their port; None: `listener` hands that out, too. `notes` are for the log, when
        it starts.
        """
        self._job, self._folder, self._listener, self._operators = job, folder, listener, operators
        self._balance, self._counters = ConnectionBalance(), CounterTable(SLOTS)
        self._tls = TlsContext(job.certfile, job.keyfile) if job.certfile else None
        self._rate = RateLimit(job.requests_per_second) if job.requests_per_second else None
        self._log_file = LogFile(folder / "api.log", job.log_mb << 20, job.log_files)
        logs.call_before_message(self._log_file.look)
        self._grpc = GrpcListener(job, listener, self._tls, self._rate) if job.grpc_port else None
        self._preflights, self._known_good = Preflights(job, folder), KnownGood(job.state_folder(folder))
        self._crashes = WorkerCrashes(self._preflights, self._known_good, folder / "workers")
        self._limits = limits_for(job, KEEPALIVE)
        self._kept = KeptFolders(job)
        self._handoff: SocketHandoff | None = None
        self._prediction_log: PredictionLog | None = None
        registry = folder_of(job.followed)
        self._in_reach = registry is not None and not is_out_of_reach(registry)
        self._spans: Spans | None = None
        self._started = False
        """Whether this worker has come so far that it accepts connections."""
        more = tls_settings(self._tls, job) if self._tls else {}
        if notes:
            more["on_starting"] = lambda master: master.log.warning("%s", "; ".join(notes))
        super().__init__(settings(job, bind) | more)

    @property
    def grpc_target(self) -> str:
        """`host:port` for clients of gRPC; empty when it is not spoken, or at a port that is not this process's own."""
        return self._grpc.target if self._grpc else ""

    def before_fork(self, worker: Worker) -> None:
        """The worker inherits its slot."""
        keep_pages_shared()
        worker.connections = self._connections = self._balance.add_worker()
        worker.limits = self._limits
        worker.counters = self._worker_counters = self._counters.counters(self._connections.slot)

    def load(self) -> Flask:
        """The app with its model, which a thread loads."""
        from serving.access.control import for_clients
        from serving.app import create_app
        from serving.calls import Limits
        from serving.engines.base import cores
        from serving.engines.meter import QUEUE
        from serving.model_source import open_source
        from serving.model_swap import ModelSwap
        from serving.predictors import Predictors
        from serving.spans import spans_for

        give_back_what_is_freed()
        self._log_file.start()
        logs.call_when_dropped(self._worker_counters.log_line_dropped)
        QUEUE.show = partial(self._worker_counters.queue, "engine")
        QUEUE.batched = self._worker_counters.batch
        # Each worker's TensorFlow, where it is needed, gets its share of the cores.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores() // self._job.workers)))
        self._spans = spans_for(self._job.traces, self._job.model)
        source = open_source(self._job, self._folder / "models", in_reach=self._in_reach)
        self._model_swap = ModelSwap(
            source, self._preflights, self._known_good, self._folder, self._is_taking, self._kept.lost
        )
        self._model_swap.start()
        self._serve_operators()
        limits = Limits(self._job.max_body_mb << 20, self._job.max_instances, self._job.explain_ms)
        earlier, prediction_log = self._earlier_versions(), self._start_prediction_log()
        if self._grpc:
            predictors = Predictors(self._model_swap, self._job.model, earlier)
            parts = Parts(predictors, limits, self._worker_counters, self._spans, prediction_log)
            self._grpc.load(parts, self._is_taking, self._threads)
        return create_app(
            self._model_swap,
            self._job.model,
            limits,
            self._worker_counters,
            trusted_proxies=self._job.trusted_proxies,
            access=for_clients(self._job, self._rate),
            spans=self._spans,
            earlier=earlier,
            prediction_log=prediction_log,
            feedback=self._feedback_taker(),
        )

    def _earlier_versions(self) -> Callable[[int], Predictor] | None:
        """None: only the live version can be asked."""
        from serving.earlier_versions import EarlierVersions
        from serving.model_source import open_source
        from serving.protocols.dialects import predictor_for

        job, copies = self._job, self._folder / "models"
        if not job.earlier_versions or job.folder:
            return None
        return EarlierVersions(
            job.model,
            job.earlier_versions,
            lambda: open_source(job, copies, in_reach=self._in_reach),
            self._preflights,
            lambda source, live: predictor_for(source.load(live)),
        )

    def _start_prediction_log(self) -> PredictionLog | None:
        """In this worker; None: nothing is kept."""
        from serving.prediction_log.writer import PredictionLog

        if self._job.prediction_log:
            self._prediction_log = PredictionLog(self._job.prediction_log, self._worker_counters.predictions_dropped)
            self._prediction_log.start()
        return self._prediction_log

    def _feedback_taker(self) -> FeedbackTaker | None:
        """In this worker; None: there is nothing that could be labelled."""
        from serving.feedback.taker import FeedbackTaker

        if not (self._job.prediction_log and self._job.labels):
            return None
        counted, lost = self._worker_counters.feedback, self._kept.lost
        return FeedbackTaker(self._job.prediction_log, Path(self._job.labels), self._job.threads, counted, lost)

    def worker_loaded(self, worker: Worker) -> None:
        """Let a new worker take requests when it has its model, or after a while without, so that it can say why."""
        until = time.monotonic() + self._job.timeout_seconds
        while not self._model_swap.first_attempt.wait(0.2) and time.monotonic() < until and worker.heartbeat():
            pass
        gc.set_threshold(GC_THRESHOLD)
        if self._listener:
            self._handoff = SocketHandoff(worker, self._listener, self._is_ready)
            worker.on_tick = self._handoff.poll
            self._handoff.poll()
        worker.threads = self._threads
        worker.resize_pool(self._threads())
        worker.quick = QuickRequests(lambda: self._model_swap.current)
        if self._grpc and worker.heartbeat():
            self._grpc.start()
            worker.on_stop = self._grpc.begin_stop
        self._started = True

    def _threads(self) -> int:
        """Requests that wait for each other in a batch are more than there are threads for otherwise."""
        predictor = self._model_swap.current
        return self._job.threads + (predictor.model.waiting if predictor else 0)

    def worker_ended(self, worker: Worker) -> None:
        """Free its slot, whatever it left behind."""
        self._balance.remove_worker(worker.connections)
        self._counters.worker_ended(worker.connections.slot)
        self._crashes.worker_ended(worker.pid)

    def worker_ends(self, worker: Worker) -> None:
        """In the worker: one that leaves its status behind has crashed."""
        if self._grpc:
            self._grpc.close()
        if self._spans:
            self._spans.close()
        worker_status.remove(self._folder / "workers", worker.pid)
        if self._prediction_log:
            self._prediction_log.close()

    def _serve_operators(self) -> None:
        """In threads of their own, also while the model is being loaded."""
        from serving.access.control import for_operators
        from serving.admin import create_admin_app

        def served() -> dict[str, Any]:
            return worker_status.of_all(self._job.model, self._job.workers, self._folder / "workers")

        app = create_admin_app(
            self._job.model, self._counters, served, lambda: lockfile.facts(self._folder), for_operators(self._job)
        )
        tls = self._tls if operators_need_tls(self._job) else None
        if self._operators:
            admin_listener.serve(self._operators, app, tls)
        else:
            admin_listener.serve_handed(lambda: socket_handoff.ask_for(self._listener, OPERATORS), app, tls)

    def _is_ready(self) -> bool:
        """Whether this worker can answer: it has a model, or nothing is live."""
        swap = self._model_swap
        return swap.current is not None or (swap.first_attempt.is_set() and not swap.error)

    def _is_taking(self) -> bool:
        """Whether this worker accepts connections."""
        return self._started and (self._handoff is None or self._handoff.has_socket)


def operators_need_tls(job: ServeJob) -> bool:
    return bool(job.certfile) and not is_loopback(job.admin_host)
