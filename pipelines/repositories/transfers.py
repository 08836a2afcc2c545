"""Has objects fetched and sent over HTTP by a process that can do nothing else; see `object_transfer.py`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.repositories import addresses, git
from pipelines.text.clean import clean
from registry.errors import TryAgain
from training.fence.rules import around_python

PROGRAM = Path(__file__).with_name("object_transfer.py")
SLOWEST = 50_000  # bytes per second, of all transfers together
AT_ONCE = 4


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
    patience = git.TIMEOUT + sum(request.get("size", 0) for request in requests) / SLOWEST
    environment = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    code, out, err = git.run_program(
        [*git.dies_with_us(), *fence.command(), sys.executable, "-I", "-S", str(PROGRAM)],
        env=environment,
        given=job,
        timeout=patience,
    )
    if code:
        git.raise_if_stopping()
        last = clean(err.decode("utf-8", "replace").strip().rpartition("\n")[2], 500)
        raise TryAgain(f"{what} stopped ({code}): {last}", hint="retry")
    return list(json.loads(out))
