"""Load on one URL from one process: N clients on kept connections, each waiting for its answer.

`load_client.py HOST PORT SECONDS CLIENTS BODY_FILE [PATH]` prints requests per second and latencies as JSON. Plain
sockets and one prepared request, so that the client costs little on a machine where it shares the cores with the server.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """One request that was answered, or not."""

    at: float
    """When it was sent, by `time.perf_counter`."""
    seconds: float
    status: int
    """0: the connection broke."""
    body: bytes


class Client:
    """One connection: sends, waits for the whole answer, sends again. It connects anew when the server asks for it."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.address, self.request = address, request
        self.buffer, self.started = b"", 0.0
        self.socket = self._connect()

    def send(self) -> None:
        """Ask once more."""
        self.started = time.perf_counter()
        self.socket.sendall(self.request)

    def receive(self) -> Answer | None:
        """The answer, when it is complete now."""
        try:
            received = self.socket.recv(65536)
        except OSError:
            received = b""
        if not received:
            return self._answer(0, self.buffer)
        self.buffer += received
        head, sign, body = self.buffer.partition(b"\r\n\r\n")
        if not sign:
            return None
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return self._answer(int(head[9:12]), body) if len(body) >= length else None

    def parted(self, answer: Answer) -> bool:
        """Whether the connection is a new one after this answer."""
        head, self.buffer = self.buffer.partition(b"\r\n\r\n")[0].lower(), b""
        if answer.status and b"connection: close" not in head:
            return False
        self.socket.close()
        self.socket = self._connect()
        return True

    def _answer(self, status: int, body: bytes) -> Answer:
        return Answer(self.started, time.perf_counter() - self.started, status, body)

    def _connect(self) -> socket.socket:
        made = socket.create_connection(self.address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class Clients:
    """`count` clients that ask all the time while they are driven."""

    def __init__(self, address: tuple[str, int], count: int, content: bytes, path: str = "/predict") -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: {address[0]}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}\r\n\r\n"
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            client = Client(address, head.encode() + content)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()

    def drive(self, more: Callable[[], bool]) -> list[Answer]:
        """All answers while `more` says so."""
        answers = []
        while more():
            for key, _ in self._selector.select(timeout=0.1):
                client, old = key.data, key.data.socket
                if answer := client.receive():
                    answers.append(answer)
                    if client.parted(answer):
                        self._selector.unregister(old)
                        self._selector.register(client.socket, selectors.EVENT_READ, client)
                    client.send()
        return answers

    def drive_for(self, seconds: float) -> list[Answer]:
        """All answers within that time."""
        until = time.perf_counter() + seconds
        return self.drive(lambda: time.perf_counter() < until)

    def close(self) -> None:
        """Close all connections."""
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()


def percentile(answers: list[Answer], share: float) -> float:
    """Milliseconds within which that share of the answers came."""
    latencies = sorted(each.seconds for each in answers)
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000


def main() -> None:
    """Warm up for half a second, then measure. An answer other than 200 ends it."""
    host, port, seconds, clients, body, *path = sys.argv[1:]
    load = Clients((host, int(port)), int(clients), Path(body).read_bytes(), *path)
    load.drive_for(0.5)
    answers = load.drive_for(float(seconds))
    if wrong := [each for each in answers if each.status != 200]:
        sys.exit(f"{len(wrong)} answers are not 200; the first is {wrong[0].status}: {wrong[0].body[:500]!r}")
    print(
        json.dumps(
            {
                "per_second": len(answers) / float(seconds),
                "p50_ms": percentile(answers, 0.5),
                "p99_ms": percentile(answers, 0.99),
            }
        )
    )


if __name__ == "__main__":
    main()
