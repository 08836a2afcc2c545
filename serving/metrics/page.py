"""`GET /metrics`: what the server processes have counted, and what they serve, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from serving.metrics.counters import BYTES, CONFIDENCE, INSTANCES, SECONDS, CounterTable, Histogram


class MetricsPage(Collector):
    """Metrics of the model `name`. `workers` gives what each process serves, as `worker_status.of_all`."""

    def __init__(self, table: CounterTable, name: str, workers: Callable[[], dict[str, Any]]) -> None:
        self._table, self._name, self._workers = table, name, workers
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics for those who ask for it, else Prometheus' text."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        totals = self._table.totals()
        requests = CounterMetricFamily("trainyard_requests", "Requests that were answered.", labels=["route", "status"])
        for labels, count in totals.requests().items():
            if count or labels == ("/predict", "200"):
                requests.add_metric(labels, count)
        yield requests
        seconds = HistogramMetricFamily(
            "trainyard_request_seconds",
            "Time inside a server process, from the request's head to the answer.",
            labels=["route"],
        )
        for route, found in totals.seconds().items():
            if sum(found[0]) or route == "/predict":
                seconds.add_metric([route], *_buckets(SECONDS, found))
        yield seconds
        refused = CounterMetricFamily(
            "trainyard_requests_refused",
            "Requests that were refused before the app saw them.",
            labels=["status", "reason"],
        )
        for labels, count in totals.refused().items():
            refused.add_metric(labels, count)
        yield refused
        closed = CounterMetricFamily(
            "trainyard_connections_closed", "Connections that were closed without an answer.", labels=["reason"]
        )
        for reason, count in totals.closed().items():
            closed.add_metric([reason], count)
        yield closed
        yield CounterMetricFamily(
            "trainyard_log_lines_dropped", "Lines of the log that could not be written.", totals.log_lines_dropped
        )
        yield GaugeMetricFamily("trainyard_requests_in_flight", "Requests being answered.", totals.in_flight)
        for name, text, bounds, histogram in (
            ("trainyard_predict_body_bytes", "Size of the bodies that were answered.", BYTES, totals.bytes),
            ("trainyard_predict_instances", "Samples in a request.", INSTANCES, totals.instances),
            ("trainyard_confidence", "Probability of the class that was answered.", CONFIDENCE, totals.confidence),
        ):
            buckets, total = _buckets(bounds, histogram)
            yield HistogramMetricFamily(name, text, buckets, total)
        yield from self._served()

    def _served(self) -> Iterable[Metric]:
        """From the status files of the server processes. A candidate in an acceptance test has no release."""
        status = self._workers()
        model = GaugeMetricFamily(
            "trainyard_model_info",
            "Server processes that answer with this version.",
            labels=["model", "version", "release"],
        )
        served = Counter(
            (str(each["version"]), str(each["release"] or ""))
            for each in status["workers"]
            if each["version"] is not None
        )
        for labels, count in served.items():
            model.add_metric([self._name, *labels], count)
        workers = GaugeMetricFamily("trainyard_workers", "Server processes.", labels=["state"])
        states = Counter(each["state"] for each in status["workers"])
        for state in ("loading", "ready", "withdrawn", "failed"):
            workers.add_metric([state], states[state])
        expected = GaugeMetricFamily(
            "trainyard_workers_expected", "Server processes that there shall be.", status["expected"]
        )
        return model, workers, expected


def _buckets(bounds: Sequence[float], found: Histogram) -> tuple[list[tuple[str, float]], float]:
    """As Prometheus has them: how many values are at most the bound."""
    names = [*(str(float(each)) for each in bounds), "+Inf"]
    return list(zip(names, accumulate(found[0]), strict=True)), found[1]
