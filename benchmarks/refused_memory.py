"""What 1,000 refused bodies of 16 MB leave in the memory of a worker.

The API has one worker, so that its memory is that of all requests; four clients send bodies of just under 16 MB, the
largest that is read at all, on connections of their own, each kind in turns: cut JSON, lists of numbers that the model
does not take, too many samples, other JSON, bytes that are not an image, a form that is not one, and a body for a page
that does not exist. Before, the same kinds are sent once each, so that what the first request of a kind costs once is
not counted. The memory is the resident set, half a second after the last answer: what was freed has then been given back, or is
counted as growth.
"""

from __future__ import annotations

import http.client
import itertools
import os
import threading
import time
from pathlib import Path

from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import Server, api

SIZE = (16 << 20) - 512
"""Bytes of a body."""
REQUESTS, CLIENTS = 1000, 4
LIMIT_MB = 100.0


def measure(run: BenchRun) -> list[Row]:
    """The growth of the worker's resident set."""
    folder = run.space("refused_memory")
    models = write_registry(folder / "models")
    with api(folder / "api", model=MODEL, registry=models.url, workers=1) as server:
        kinds = bodies()
        send(server, kinds, len(kinds))
        before = resident_mb(server)
        statuses = send(server, kinds, REQUESTS if not run.quick else 2 * len(kinds))
        after = resident_mb(server)
    raw: dict[str, object] = {"before_mb": before, "after_mb": after, "statuses": statuses}
    run.say(f"  {before:.0f} MB before, {after:.0f} MB after; {statuses}")
    title = f"memory that {sum(statuses.values()):,} refused bodies of 16 MB leave in a worker"
    return [Row(title, after - before, "MB", "", 0, LIMIT_MB, raw=raw, rule="value")]


def bodies() -> list[tuple[str, str, bytes]]:
    """Path, content type and body of each kind."""

    def filled(start: bytes, unit: bytes, end: bytes) -> bytes:
        return start + unit * ((SIZE - len(start) - len(end)) // len(unit)) + end

    json = "application/json"
    return [
        ("/predict", json, filled(b'{"instances": [[', b"1.25,", b"")),
        ("/predict", json, filled(b'{"instances": [[', b"1.25,", b"2]]}")),
        ("/predict", json, filled(b'{"instances": [', b"[[1],[2]],", b"[[3]]]}")),
        ("/predict", json, filled(b'{"instances": [["', b"abcdefgh", b'"]]}')),
        ("/predict", json, filled(b'[{"a": 1}', b', {"b": "cd"}', b"]")),
        ("/predict", "image/png", filled(b"\x89PNG\r\n\x1a\n", b"\0\1\2\3", b"")),
        ("/predict", "multipart/form-data; boundary=q", filled(b"--q\r\n", b"abcdefg\n", b"")),
        ("/nothing", json, filled(b'{"instances": [', b"1,", b"2]}")),
    ]


def send(server: Server, kinds: list[tuple[str, str, bytes]], count: int) -> dict[int, int]:
    """Send so many of them; how many were answered with which status."""
    turns, lock, statuses = itertools.cycle(kinds), threading.Lock(), dict[int, int]()
    left = itertools.count(count, -1)

    def client() -> None:
        while True:
            with lock:
                if next(left) <= 0:
                    return
                path, kind, body = next(turns)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
            try:
                connection.request("POST", path, body, {"Content-Type": kind})
                status = connection.getresponse().status
            except OSError:  # an answer that came before the end of the body
                status = 0
            finally:
                connection.close()
            with lock:
                statuses[status] = statuses.get(status, 0) + 1

    crowd = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    return statuses


def resident_mb(server: Server) -> float:
    """The resident set of the one worker, soon."""
    time.sleep(0.5)
    (worker,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
