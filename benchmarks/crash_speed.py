"""A release whose model cannot be loaded, while 16 clients ask for predictions all the time: how many requests fail, and how
long it takes until the release before is back.

The model file is damaged, as a disk or an attacker would do it. As in a promotion, the release is appended, every worker
reports that it cannot be served, and a release of the version before follows; each step is a process of its own. What
really crashes the loader is in tests/faults/test_crashing_models.py.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import image_model
from bench_run import BenchRun
from image_model import MODEL, ModelRegistry, write_registry
from load_client import Answer, Clients
from rows import Row
from servers import CLIENTS, api

ROUNDS = 3
SLICE = 0.1
PATIENCE = 60.0
LIMIT = 5.0
"""Seconds."""


def measure(run: BenchRun) -> list[Row]:
    """The longest way back, and the requests that failed."""
    folder = run.space("crash")
    models = write_registry(folder / "models")
    damaged = models.publish_damaged()
    seconds: list[float] = []
    answers: list[Answer] = []
    with api(folder / "api", model=MODEL, registry=models.url) as server:
        clients = Clients(("127.0.0.1", server.port), CLIENTS, models.body.read_bytes())
        try:
            answers += clients.drive_for(1.0)
            for _ in range(run.rounds(ROUNDS)):
                begin = time.monotonic()
                answers += _release(clients, models, damaged, folder / "api", "failed")
                answers += _release(clients, models, 1, folder / "api", "ready")
                seconds.append(time.monotonic() - begin)
                run.say(f"  {seconds[-1]:.2f} s")
        finally:
            clients.close()
    failed = sum(each.status != 200 for each in answers)
    raw: dict[str, object] = {"seconds": seconds, "answers": len(answers), "failed": failed}
    title = f"requests that fail in {len(seconds)} releases of a damaged model ({len(answers):,} requests)"
    return [
        Row("from a release that cannot be loaded to the one before, under load", max(seconds), "s", "", 0, LIMIT,
            raw=raw, rule="value"),
        Row(title, failed, "requests", "", 0, 0, raw=raw, rule="value"),
    ]  # fmt: skip


def _release(clients: Clients, models: ModelRegistry, version: int, folder: Path, state: str) -> list[Answer]:
    """Release a version, and ask until every worker is in `state` with it; gives the answers."""
    from serving.server import control

    command = [sys.executable, "-P", image_model.__file__, str(models.folder), str(version)]
    promotion = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    answers: list[Answer] = []
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        answers += clients.drive_for(SLICE)
        if promotion.poll() is None:
            continue
        newest = models.newest()
        workers = control.status(folder)["workers"]
        if workers and all((each["state"], each["wanted"]) == (state, newest) for each in workers):
            return answers
    sys.exit(f"version {version} was not {state} after {PATIENCE:.0f} s")
