"""A promotion while 16 clients ask for predictions all the time: how many requests fail, and what the slowest cost.

The API has two workers of four threads; a process of its own copies the version, checks its hashes and appends the
release, as `trainyard promote` does; each worker loads and warms the new model beside the old one, then swaps. Compared
are the 99th percentiles of latency, on the same connections: in the seconds before, and from the start of the promotion
until a quarter of a second after the last answer of the old release. The load saturates the machine, so whatever the
swap needs is taken from the requests.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass

import image_model
from bench_run import BenchRun
from image_model import MODEL, ModelRegistry, write_registry
from load_client import Answer, Clients, percentile
from rows import Row
from servers import CLIENTS, api

ROUNDS = 7
BEFORE, AFTER = 2.0, 0.25
"""Seconds."""
SLICE = 0.1
PATIENCE = 30.0
LIMIT = 2.0


@dataclass(frozen=True)
class Swap:
    """One promotion under load."""

    before_p99_ms: float
    during_p99_ms: float
    during_max_ms: float
    seconds: float
    """From the start of the promotion to the last answer of the old release."""
    answers: int
    failed: int


def measure(run: BenchRun) -> list[Row]:
    """The 99th percentile during the swap over that before (medians of the rounds), and the requests that failed."""
    folder = run.space("swap")
    models = write_registry(folder / "models")
    swaps = []
    with api(folder / "api", model=MODEL, registry=models.url) as server:
        clients = Clients(("127.0.0.1", server.port), CLIENTS, models.body.read_bytes())
        try:
            clients.drive_for(2 * BEFORE)
            for release in range(2, run.rounds(ROUNDS) + 2):
                swaps.append(_swap(clients, models, release))
                run.say(f"  release {release}: {swaps[-1]}")
        finally:
            clients.close()
    before = statistics.median(each.before_p99_ms for each in swaps)
    during = statistics.median(each.during_p99_ms for each in swaps)
    failed, answers = sum(each.failed for each in swaps), sum(each.answers for each in swaps)
    raw: dict[str, object] = {"swaps": [vars(each) for each in swaps]}
    return [
        Row(f"99th percentile during a promotion, {CLIENTS} clients", during, "ms", "just before", before, LIMIT, "less", raw),
        Row(f"requests that fail in {len(swaps)} promotions ({answers:,} requests)", failed, "requests", "", 0, 0,
            raw=raw, rule="value"),
    ]  # fmt: skip


def _swap(clients: Clients, models: ModelRegistry, release: int) -> Swap:
    before = clients.drive_for(BEFORE)
    version = 2 - release % 2  # release 1 is version 1
    command = [sys.executable, "-P", image_model.__file__, str(models.folder), str(version)]
    promotion = subprocess.Popen(command)
    begin, waited, during = None, 0.0, []
    last: list[Answer] = []
    while promotion.poll() is None or not last or any(_release(each) != release for each in last if each.status == 200):
        last = clients.drive_for(SLICE)
        begin = begin if begin is not None else min((each.at for each in last), default=None)
        during += last
        waited += SLICE
        if promotion.returncode or waited > PATIENCE:
            sys.exit(f"release {release} was not served ({promotion.returncode})")
    during += clients.drive_for(AFTER)
    end = max(each.at + each.seconds for each in during if each.status == 200 and _release(each) < release)
    swap = [each for each in during if each.at <= end + AFTER]
    return Swap(
        before_p99_ms=percentile(before, 0.99),
        during_p99_ms=percentile(swap, 0.99),
        during_max_ms=max(each.seconds for each in swap) * 1000,
        seconds=end - (begin or end),
        answers=len(before) + len(during),
        failed=sum(each.status != 200 for each in before + during),
    )


def _release(answer: Answer) -> int:
    return int(json.loads(answer.body)["release"])
