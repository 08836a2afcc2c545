"""One request over gRPC: who may ask, what a thread answers, and what is counted, logged, traced and kept of it.

What serving.middleware does over HTTP. Access is decided before the message is read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.access.addresses import client_network
from serving.access.control import AccessControl
from serving.calls import Call, Limits
from serving.errors import Headers, Refused, bad_request
from serving.grpc_port.methods import Method
from serving.grpc_port.reading import Reading
from serving.grpc_port.threads import Threads
from serving.metrics.counters import CountedRequest, WorkerCounters
from serving.metrics.routes import PREDICTING
from serving.prediction_log.writer import PredictionLog
from serving.proxies import Networks, client_behind
from serving.request_ids import RequestIds
from serving.spans import Spans
from serving.traces import trace_of
from serving.wsgi_keys import CLIENT, COUNTED, REQUEST_ID

log = logging.getLogger(__name__)

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""By the HTTP status of a refusal, under which it is counted and logged; any other is INTERNAL."""
GONE, LATE = "499", "504"
"""Of a client that does not wait any more: it has cancelled, or its deadline is over."""
NEARLY = 0.1
"""Seconds. A client whose deadline is over cancels its call, which may be here before the deadline by our clock."""
MOST = 256
"""Requests at once in one server process, and half of them from one address."""
METADATA = {
    "authorization": "HTTP_AUTHORIZATION",
    "x-forwarded-for": "HTTP_X_FORWARDED_FOR",
    "x-request-id": "HTTP_X_REQUEST_ID",
    "traceparent": "HTTP_TRACEPARENT",
    "tracestate": "HTTP_TRACESTATE",
}
"""What is looked at of a request's metadata, and its name in WSGI."""


def _no_log(environ: dict[str, Any], status: int, sent: int, seconds: float) -> None:
    """Nothing is written."""


@dataclass(slots=True)
class Answering:
    """Belongs to one server process; `answer` runs in its event loop. Its optional parts are as in serving.app."""

    limits: Limits
    counters: WorkerCounters
    reading: Reading
    threads: Threads
    access: AccessControl | None = None
    spans: Spans | None = None
    prediction_log: PredictionLog | None = None
    trusted: Networks = field(default_factory=lambda: Networks(()))
    exempt: Networks = field(default_factory=lambda: Networks(()))
    """Addresses behind each of which there are many clients."""
    address_of: Callable[[str], str] = lambda peer: peer.rpartition(":")[0]
    """The client's address by `address:port` from which it came."""
    write_access: Callable[[dict[str, Any], int, int, float], None] = _no_log
    """As serving.server.logs."""
    most: int = MOST
    _ids: RequestIds = field(default_factory=RequestIds)
    _open: dict[str, int] = field(default_factory=dict)
    """Requests by address."""

    async def answer(self, route: str, method: Method, context: Any) -> bytes:
        """The message that answers; what is refused ends with a status."""
        began, counted = time.perf_counter(), CountedRequest(route)
        counted.route, counted.status = route, "500"
        environ = self._environ(route, context)
        request_id = environ[REQUEST_ID] = self._ids.choose(environ.get("HTTP_X_REQUEST_ID", ""))
        environ[COUNTED] = counted
        call = Call(environ, self.limits, request_id, counted, began)
        span, added = self._trace(environ, counted)
        added = (("x-request-id", request_id), *added)
        refused: Refused | None = None
        may_ask, found = False, b""
        self.counters.start(counted)
        group = self._enter(environ["REMOTE_ADDR"])
        try:
            self._refuse_too_many(group)
            self._decide(environ, counted)
            may_ask = True
            found = await self._answered(method, call, context)
            counted.status = "200"
        except Refused as error:
            refused = error
        except asyncio.CancelledError:
            remaining = context.time_remaining()
            counted.status = LATE if remaining is not None and remaining <= NEARLY else GONE
            raise
        except Exception:
            log.exception("request %s failed", request_id)
            refused = Refused(500, "the prediction failed; the log has the reason", hint=f"request {request_id}")
        finally:
            self._leave(group)
            if refused:
                counted.status = str(refused.status)
                if refused.reason:
                    log.warning("request %s: %s: %s", request_id, refused, refused.reason)
            counted.seconds = time.perf_counter() - began
            self.counters.finish(counted)
            if span is not None and self.spans:
                self.spans.end(span, counted, environ, request_id)
            if self.prediction_log is not None and may_ask and route in PREDICTING:
                self.prediction_log.offer(call.answered())
            self.write_access(environ, int(counted.status), len(found), counted.seconds)
        context.set_trailing_metadata((*added, *_lower(refused.headers if refused else ())))
        if refused:
            text = f"{refused}; {refused.hint}" if refused.hint else str(refused)
            await context.abort(CODES.get(refused.status, grpc.StatusCode.INTERNAL), text)
        return found

    async def _answered(self, method: Method, call: Call, context: Any) -> bytes:
        body = await self.reading.message(context)
        call.environ["CONTENT_LENGTH"] = str(len(body))
        received = time.perf_counter()
        call.counted.read_seconds = received - call.began

        def work() -> bytes:
            call.began = time.perf_counter()
            call.counted.queue_seconds = call.began - received
            try:
                request = method.read(body)
            except DecodeError:
                raise bad_request(
                    "the message cannot be read", hint="the service has another kind of message"
                ) from None
            answer = method.answer(request, call)
            data: bytes = answer if isinstance(answer, bytes) else answer.SerializeToString()
            if call.predicted:
                call.counted.write_seconds = time.perf_counter() - call.predicted_at
            return data

        return await asyncio.get_running_loop().run_in_executor(self.threads.pool(), work)

    def _decide(self, environ: dict[str, Any], counted: CountedRequest) -> None:
        if self.access is None:
            return
        decision = self.access.decide(environ)
        environ[CLIENT] = counted.caller = decision.client
        if decision.refused:
            raise decision.refused

    def _enter(self, address: str) -> str:
        group = "" if address in self.exempt else client_network(address)
        self._open[group] = self._open.get(group, 0) + 1
        return group

    def _leave(self, group: str) -> None:
        self._open[group] -= 1
        if not self._open[group]:
            del self._open[group]

    def _refuse_too_many(self, group: str) -> None:
        if sum(self._open.values()) > self.most or (group and self._open[group] > self.most // 2):
            raise Refused(503, f"{self.most} requests at once are too many", hint="retry later")

    def _trace(self, environ: dict[str, Any], counted: CountedRequest) -> tuple[Any, Headers]:
        """As in serving.middleware: the span, when there are spans, and what is added to the answer."""
        span: Any = None
        if self.spans:
            span, trace = self.spans.begin(environ, 0.0)
        elif "HTTP_TRACEPARENT" in environ:
            trace = trace_of(environ["HTTP_TRACEPARENT"])
        else:
            return None, ()
        counted.trace_id, counted.traced = trace.trace_id, trace.sampled
        return span, (("traceparent", trace.header),)

    def _environ(self, route: str, context: Any) -> dict[str, Any]:
        """What the rules of access and the log look at, as WSGI has it."""
        environ: dict[str, Any] = {"REQUEST_METHOD": "POST", "PATH_INFO": route}
        for key, value in context.invocation_metadata() or ():
            if (name := METADATA.get(key)) and isinstance(value, str):
                environ[name] = value
        # ipv4:127.0.0.1:4711, or ipv6:%5B::1%5D:4711
        peer = context.peer().partition(":")[2].replace("%5B", "").replace("%5D", "").replace("[", "").replace("]", "")
        address = self.address_of(peer)
        environ["REMOTE_ADDR"] = client_behind(address, environ.get("HTTP_X_FORWARDED_FOR", ""), self.trusted)
        return environ


def _lower(headers: Headers) -> Headers:
    return tuple((name.lower(), value) for name, value in headers)
