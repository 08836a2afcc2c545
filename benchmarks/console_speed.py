"""The console's pages with 100 models, 5,000 versions and 1,000 runs: milliseconds on the server, and bytes over the wire.

Each page is asked for by Flask's test client, signed in, as a person's browser does, without the network and the server before it.
What was read before is kept (`pipelines/console/facts/cache.py`), and everything that may have changed is looked at again for each
page: before each round a release is made, so that the page before is not shown again. Against a fixed promise: the
median of a page at most 50 ms, and at most 60 KB as it is sent (compressed where the console compresses it).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import console_installation
from bench_run import BenchRun
from flask import Flask
from rows import Row

from pipelines.config.schema import Config
from pipelines.console.app import Options, create_console
from pipelines.console.cookies import NAME, cookie_name
from pipelines.console.person import Person
from pipelines.console.services import Services
from registry import releases
from registry.records import Release, utc_now
from registry.stores import open_store

ROUNDS = 15
MODELS, VERSIONS, RUNS = 100, 5_000, 1_000
MOST_MS, MOST_KB = 50.0, 60.0


def measure(run: BenchRun) -> list[Row]:
    """Two rows per page."""
    folder = run.space("console_speed")
    installation = console_installation.write(folder, MODELS, VERSIONS, RUNS)
    app = create_console(installation, Options())
    client = app.test_client()
    services: Services = app.extensions["trainyard"]
    client.set_cookie(
        cookie_name(NAME, https=False), services.sessions.begin(Person("ada", "ada@company.example", "password"))
    )
    name = next(iter(installation.models))
    rows = []
    for title, path in pages(app, name):
        taken, size = [], 0
        for number in range(run.rounds(ROUNDS) + 1):
            _release(installation.models[name].config)
            began = time.perf_counter()
            answer = client.get(path, headers={"Accept-Encoding": "gzip"})
            if number:  # the first reads everything
                taken.append((time.perf_counter() - began) * 1000)
            size = len(answer.data)
            if answer.status_code != 200:
                raise RuntimeError(f"{path}: {answer.status_code}")
        run.say(f"  {title}: {statistics.median(taken):.1f} ms, {size / 1000:.1f} KB")
        about = f"console, {title}"
        rows.append(
            Row(
                f"{about}: time on the server",
                statistics.median(taken),
                "ms",
                "",
                0.0,
                MOST_MS,
                raw={"ms": taken},
                rule="value",
            )
        )
        rows.append(Row(f"{about}: size", size / 1000, "KB", "", 0.0, MOST_KB, rule="value"))
    return rows


def pages(app: Flask, model: str) -> Iterator[tuple[str, str]]:
    """What is in the bar on top, and the tabs of a model."""
    with app.test_request_context():
        for each in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
            asked = set(each.arguments)
            if "GET" in (each.methods or ()) and asked <= {"model"} and _is_page(each.rule):
                yield each.rule.replace("/models/<model>/", "") or "a model", each.rule.replace("<model>", model)


def _is_page(rule: str) -> bool:
    last = rule.rstrip("/").rpartition("/")[2]
    return last in {"", "<model>", "runs", "monitor", "labels", "try", "audit", "settings"}


def _release(config: Config) -> None:
    """Something new is live: what was read of this model before does not do any more."""
    store, model = open_store(config.registry.url), config.model  # nothing is signed here
    last = releases.latest(store, model)
    assert last is not None
    draft = Release(0, model, "rollback", last.version, last.card, "ada", utc_now(), "again", None, "")
    releases.release_chain(store, model).append(draft, last.number)
