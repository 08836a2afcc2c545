"""Has objects fetched and sent over HTTP by a process that can do nothing else; see `object_transfer.py`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pipelines.repositories import addresses, processes
from pipelines.text.clean import clean
from registry.errors import FREE_SPACE, TryAgain
from training.fence.rules import around_python

PROGRAM = Path(__file__).with_name("object_transfer.py")
SLOWEST = 50_000  # bytes per second, of all transfers together
AT_ONCE = 4
K = TypeVar("K")
T = TypeVar("T")


def ask(
    requests: Sequence[Mapping[str, Any]], what: str, *, certificates: str = "", write: str = "", read: str = "",
    at_once: int = AT_ONCE,
) -> list[dict[str, Any]]:  # fmt: skip
    """The answers to these requests, in their order, from a process that can connect to their ports, write to the folder
    `write` and read the folder `read`; `what` begins the message of the TryAgain when it stops.
    """
    ports = {found[0].port for request in requests if (found := addresses.parse_href(str(request["url"])))}
    system = around_python()
    fence = replace(
        system,
        read=(*system.read, *filter(None, [read])),
        write=tuple(filter(None, [write])),
        connect=tuple(sorted(ports)),
    )
    job = json.dumps({"certificates": certificates, "at_once": at_once, "requests": requests}).encode()
    patience = processes.TIMEOUT + sum(request.get("size", 0) for request in requests) / SLOWEST
    environment = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    code, out, err = processes.run_program(
        [*fence.command(ends_with_us=True), sys.executable, "-I", "-S", str(PROGRAM)],
        env=environment,
        given=job,
        timeout=patience,
    )
    if code:
        processes.raise_if_stopping()
        last = clean(err.decode("utf-8", "replace").strip().rpartition("\n")[2], 500)
        raise TryAgain(f"{what} stopped ({code}): {last}", hint="retry")
    answers = list(json.loads(out))
    for each in answers:
        if each.get("full"):
            raise TryAgain(f"{what} stopped: {clean(str(each['error']), 500)}", hint=FREE_SPACE)
    return answers


def in_processes(work: Callable[[K], T], parts: Sequence[K]) -> list[T]:
    """`work` for each part in a thread of its own, which may start a process; all end when we are asked to stop."""
    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(work, each) for each in parts]
        waiting = set(futures)
        try:
            while (
                waiting
            ):  # with a timeout: Python handles a signal that reached another thread only when this one wakes up
                _, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
            return [each.result() for each in futures]
        except Exception:  # the others may end in peace
            raise
        except BaseException:
            processes.stop_all()
            raise
