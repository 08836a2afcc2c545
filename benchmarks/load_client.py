"""Load on one URL from one process: N clients on kept connections, each waiting for its answer.

`load_client.py HOST PORT SECONDS CLIENTS BODY_FILE` prints requests per second and latencies as JSON. Plain sockets and
one prepared request, so that the client costs little on a machine where it shares the cores with the server.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from pathlib import Path


class Client:
    """One connection: sends, waits for the whole answer, sends again."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.buffer = b""
        self.started = 0.0

    def send(self) -> None:
        """Ask once more."""
        self.started = time.perf_counter()
        self.socket.sendall(self.request)

    def answered(self) -> bool:
        """Whether the answer is complete now. Ends the process when it is not a 200."""
        self.buffer += self.socket.recv(65536)
        head, sign, body = self.buffer.partition(b"\r\n\r\n")
        if not sign:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"the answer is {self.buffer[:500]!r}")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return False
        self.buffer = b""
        return True


def main() -> None:
    """Warm up for half a second, then measure."""
    host, port, seconds, clients, body = sys.argv[1:]
    content = Path(body).read_bytes()
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    with selectors.DefaultSelector() as selector:
        for _ in range(int(clients)):
            client = Client((host, int(port)), head.encode() + content)
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        drive(selector, 0.5)
        latencies = sorted(drive(selector, float(seconds)))
    print(
        json.dumps(
            {
                "per_second": len(latencies) / float(seconds),
                "p50_ms": latencies[len(latencies) // 2] * 1000,
                "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
            }
        )
    )


def drive(selector: selectors.BaseSelector, seconds: float) -> list[float]:
    """The latencies, in seconds, of all answers within that time."""
    latencies, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(timeout=1.0):
            if key.data.answered():
                latencies.append(time.perf_counter() - key.data.started)
                key.data.send()
    return latencies


main()
