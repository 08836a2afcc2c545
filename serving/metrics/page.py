"""`GET /metrics`: what the server processes have counted, and what they serve, for Prometheus.

docs/reference/metrics.md lists all of it; a test holds that it does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar

from serving.metrics.counters import CounterTable, Histogram, Totals
from serving.metrics.exemplars import Traced
from serving.metrics.layout import BATCH_ROWS, BYTES, CONFIDENCE, INSTANCES, PHASE_SECONDS, SECONDS
from serving.metrics.process_facts import cgroup
from serving.metrics.routes import protocol_of

Bucket = tuple[str, float] | tuple[str, float, Exemplar]
FIRST = ("/predict", "200", "")
"""Shown before there is such a request, so that a rate over the first ones is not lost."""


class MetricsPage(Collector):
    """Metrics of the model `name`. `workers` gives what each process serves, as `worker_status.of_all`."""

    def __init__(self, table: CounterTable, name: str, workers: Callable[[], dict[str, Any]]) -> None:
        self._table, self._name, self._workers = table, name, workers
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics, with exemplars, for those who ask for it, else Prometheus' text."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        totals = self._table.totals()
        yield from self._requests(totals)
        yield from _before_the_app(totals)
        yield from _predictions(totals)
        yield from _processes(totals)
        yield from self._served()

    def _requests(self, totals: Totals) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "trainyard_requests",
            "Requests that were answered.",
            labels=["route", "status", "code", "protocol", "caller"],
        )
        for (route, status, caller), count in ({FIRST: 0.0} | totals.requests()).items():
            requests.add_metric([route, status, status, protocol_of(route), caller], count)
        yield requests
        seconds = HistogramMetricFamily(
            "trainyard_request_seconds",
            "Time inside a server process, from the request's head to the answer.",
            labels=["route", "protocol"],
        )
        for route, found in totals.seconds().items():
            if sum(found[0]) or route == FIRST[0]:
                buckets, total = _buckets(SECONDS, found, self._table.exemplars.newest(route))
                seconds.add_metric([route, protocol_of(route)], buckets, total)
        yield seconds
        phases = HistogramMetricFamily(
            "trainyard_phase_seconds",
            "Of predictions: waiting for a thread and the engine, reading, the model, and writing the answer.",
            labels=["phase", "protocol"],
        )
        for (protocol, phase), found in totals.phases().items():
            if sum(found[0]) or protocol == protocol_of(FIRST[0]):
                phases.add_metric([phase, protocol], *_buckets(PHASE_SECONDS, found))
        yield phases
        yield GaugeMetricFamily("trainyard_requests_in_flight", "Requests being answered.", totals.in_flight)
        depth = GaugeMetricFamily("trainyard_queue_depth", "Requests that wait for it.", labels=["queue"])
        for queue, waiting in totals.queued.items():
            depth.add_metric([queue], waiting)
        yield depth

    def _served(self) -> Iterator[Metric]:
        """From the status files of the server processes. A candidate in an acceptance test has no release."""
        status = self._workers()
        model = GaugeMetricFamily(
            "trainyard_model_info",
            "Server processes that answer with this version.",
            labels=["model", "version", "release"],
        )
        made = GaugeMetricFamily(
            "trainyard_model_created_timestamp_seconds",
            "When the version was registered, in seconds since 1970.",
            labels=["model", "version"],
        )
        serving = [each for each in status["workers"] if each["version"] is not None]
        served = Counter((str(each["version"]), str(each["release"] or "")) for each in serving)
        for labels, count in served.items():
            model.add_metric([self._name, *labels], count)
        created = {str(each["version"]): each.get("created", "") for each in serving}
        for version, text in created.items():
            if text:
                made.add_metric([self._name, version], datetime.fromisoformat(text).timestamp())
        workers = GaugeMetricFamily("trainyard_workers", "Server processes.", labels=["state"])
        states = Counter(each["state"] for each in status["workers"])
        for state in ("loading", "ready", "withdrawn", "failed"):
            workers.add_metric([state], states[state])
        yield from (model, made, workers)
        yield GaugeMetricFamily(
            "trainyard_workers_expected", "Server processes that there shall be.", status["expected"]
        )


def _before_the_app(totals: Totals) -> Iterable[Metric]:
    refused = CounterMetricFamily(
        "trainyard_requests_refused",
        "Requests that were refused before the app saw them.",
        labels=["status", "code", "reason"],
    )
    for (status, reason), count in totals.refused().items():
        refused.add_metric([status, status, reason], count)
    closed = CounterMetricFamily(
        "trainyard_connections_closed", "Connections that were closed without an answer.", labels=["reason"]
    )
    for reason, count in totals.closed().items():
        closed.add_metric([reason], count)
    return refused, closed


def _predictions(totals: Totals) -> Iterator[Metric]:
    for name, text, bounds, histogram in (
        ("trainyard_predict_body_bytes", "Size of the bodies that were answered.", BYTES, totals.bytes),
        ("trainyard_predict_instances", "Samples in a request.", INSTANCES, totals.instances),
        ("trainyard_batch_rows", "Samples in one call of the engine.", BATCH_ROWS, totals.batch_rows),
        ("trainyard_confidence", "Probability of the class that was answered.", CONFIDENCE, totals.confidence),
    ):
        buckets, total = _buckets(bounds, histogram)
        yield HistogramMetricFamily(name, text, buckets, total)


def _processes(totals: Totals) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "trainyard_log_lines_dropped", "Lines of the log that could not be written.", totals.log_lines_dropped
    )
    yield CounterMetricFamily(
        "trainyard_prediction_log_dropped", "Lines of the prediction log that were lost.", totals.predictions_dropped
    )
    feedback = CounterMetricFamily(
        "trainyard_feedback", "Reports of what was right, by what became of them.", labels=["outcome"]
    )
    for outcome, count in totals.feedback().items():
        feedback.add_metric([outcome], count)
    yield feedback
    yield CounterMetricFamily(
        "trainyard_process_cpu_seconds", "Processor time of the server processes.", totals.cpu_seconds
    )
    for name, text, value in (
        ("memory_bytes", "Resident memory of the server processes, what they share counted for each.", totals.memory),
        ("open_files", "Open files and sockets of the server processes.", totals.files),
        ("open_files_limit", "Files and sockets that they may open.", totals.files_limit),
    ):
        yield GaugeMetricFamily(f"trainyard_process_{name}", text, value)
    for fact in cgroup():
        family = CounterMetricFamily if fact.counter else GaugeMetricFamily
        yield family(f"trainyard_cgroup_{fact.name}", fact.text, fact.value)


def _buckets(
    bounds: Sequence[float], found: Histogram, traced: Sequence[Traced | None] = ()
) -> tuple[list[Bucket], float]:
    """As Prometheus has them: how many values are at most the bound."""
    names = [*(str(float(each)) for each in bounds), "+Inf"]
    buckets: list[Bucket] = list(zip(names, accumulate(found[0]), strict=True))
    for i, each in enumerate(traced):
        if each:
            example = Exemplar({"trace_id": each.trace_id}, each.seconds, each.time)
            buckets[i] = (*buckets[i][:2], example)
    return buckets, found[1]
