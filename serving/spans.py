"""OpenTelemetry spans of requests, where it is installed and a collector is named; else nothing of it is imported.

A span per request, as of a server, with a child for each phase; they are made when the answer is, and sent by a thread.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from serving.metrics.counters import CountedRequest
from serving.traces import Trace

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FLUSH_MS = 2000
log = logging.getLogger(__name__)


class Spans:
    """Made in a server process, as it starts a thread. Raises ImportError where OpenTelemetry is not installed."""

    def __init__(self, endpoint: str, model: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        name = os.environ.get("OTEL_SERVICE_NAME", f"trainyard-{model}")
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("trainyard.serving")
        self._context_of = TraceContextTextMapPropagator().extract
        self._inside, self._server, self._failed = set_span_in_context, SpanKind.SERVER, Status(StatusCode.ERROR)

    def begin(self, environ: WSGIEnvironment, waited: float) -> tuple[Any, Trace]:
        """The span of a request that has come `waited` seconds ago, and its place in the client's trace."""
        names = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}
        carrier = {name: environ[key] for name, key in names.items() if key in environ}
        began = time.time_ns() - int(waited * 1e9)
        span = self._tracer.start_span(
            environ["REQUEST_METHOD"], self._context_of(carrier), self._server, start_time=began
        )
        found = span.get_span_context()
        sampled = bool(found.trace_flags & 1)
        return span, Trace(f"{found.trace_id:032x}", f"{found.span_id:016x}", sampled)

    def end(self, span: Any, counted: CountedRequest, environ: WSGIEnvironment, request_id: str) -> None:
        """The answer is there."""
        end = time.time_ns()
        if span.is_recording():
            span.update_name(f"{environ['REQUEST_METHOD']} {counted.route}")
            span.set_attributes(
                {
                    "http.request.method": environ["REQUEST_METHOD"],
                    "http.route": counted.route,
                    "http.response.status_code": int(counted.status or 0),
                    "trainyard.request_id": request_id,
                    "trainyard.caller": counted.caller,
                    "trainyard.rows": counted.rows,
                }
            )
            if counted.status.startswith("5"):
                span.set_status(self._failed)
            if counted.rows:
                self._phases(span, counted, end)
        span.end(end)

    def close(self) -> None:
        """Send what is not sent yet, for a moment at most."""
        self._provider.force_flush(FLUSH_MS)

    def _phases(self, span: Any, counted: CountedRequest, end: int) -> None:
        """Backwards from the end, in the order of time."""
        context = self._inside(span)
        for name, seconds in (
            ("write", counted.write_seconds),
            ("infer", counted.infer_seconds),
            ("queue engine", counted.engine_wait_seconds),
            ("read", counted.read_seconds),
            ("queue thread", counted.queue_seconds - counted.engine_wait_seconds),
        ):
            start = end - int(seconds * 1e9)
            if seconds > 0:
                self._tracer.start_span(name, context, start_time=start).end(end)
            end = start


def spans_for(endpoint: str, model: str) -> Spans | None:
    """None: no collector is named, by `endpoint` or OTEL_EXPORTER_OTLP_ENDPOINT, or OpenTelemetry is not installed, which is
    logged."""
    endpoint = endpoint or os.environ.get(ENDPOINT, "")
    if not endpoint or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return Spans(endpoint, model)
    except ImportError as error:
        log.warning("no spans are sent to %s: %s; install opentelemetry-exporter-otlp-proto-http", endpoint, error)
        return None
