"""A short load test: some clients at once, each with one connection that it keeps."""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Barrier, Thread
from urllib.parse import urlsplit

from registry.records import LoadReport, TestCase, TestReport
from unit_tests.job import LOAD, AcceptJob


@dataclass(slots=True)
class Client:
    """What one client saw."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of each answered request."""
    errors: list[str] = field(default_factory=list)
    ended: float = 0.0


def run_load_test(url: str, bodies: list[bytes], job: AcceptJob) -> tuple[LoadReport, TestReport]:
    """POST the bodies in turn to `/predict` from `job.concurrency` clients for `job.load_seconds`; one case per limit."""
    started = time.monotonic()
    report, errors = _run(url, bodies, job)
    seconds = time.monotonic() - started
    limit, p95 = job.min_requests_per_second, job.max_p95_ms
    checks = {
        "every request is answered": f"{report.failures} of {report.requests} failed: {errors[0]}" if errors else "",
        f"at least {limit:g} requests/s": _unless(
            report.per_second >= limit, f"{report.per_second:.1f} requests/s with {job.concurrency} clients"
        ),
        f"95 % within {p95:g} ms": _unless(report.p95_ms <= p95, f"95 % within {report.p95_ms:.1f} ms"),
    }
    cases = (
        TestCase(name, "failed" if message else "passed", seconds / len(checks), message)
        for name, message in checks.items()
    )
    return report, TestReport(LOAD, tuple(cases))


def _run(url: str, bodies: list[bytes], job: AcceptJob) -> tuple[LoadReport, list[str]]:
    clients, start = [Client() for _ in range(job.concurrency)], Barrier(job.concurrency + 1)
    threads = [
        Thread(target=_drive, args=(client, url, bodies[i % len(bodies) :] + bodies[: i % len(bodies)], start, job))
        for i, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = max([client.ended for client in clients]) - started
    latencies = sorted(each for client in clients for each in client.latencies)
    errors = [each for client in clients for each in client.errors]
    p50, p95, p99 = (percentile(latencies, share) * 1000 for share in (0.50, 0.95, 0.99))
    total = len(latencies) + len(errors)
    return LoadReport(total, len(errors), seconds, len(latencies) / seconds, p50, p95, p99), errors


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed (nearest rank); NaN when there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _drive(client: Client, url: str, bodies: list[bytes], start: Barrier, job: AcceptJob) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=job.answer_seconds)
    _ask(connection, bodies[0])  # connect before the clock runs
    start.wait()
    until, count = time.perf_counter() + job.load_seconds, 0
    while (before := time.perf_counter()) < until:
        error = _ask(connection, bodies[count % len(bodies)])
        count += 1
        if error:
            client.errors.append(error)
            connection.close()
            time.sleep(0.01)  # a server that refuses every connection needs no storm
        else:
            client.latencies.append(time.perf_counter() - before)
    client.ended = time.perf_counter()
    connection.close()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> str:
    """Why there was no good answer; empty when there was one."""
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    if response.status != http.HTTPStatus.OK or not answer.startswith(b"{"):
        return f"{response.status}: {answer[:200].decode(errors='replace')}"
    return ""


def _unless(good: bool, message: str) -> str:  # noqa: FBT001
    return "" if good else message
