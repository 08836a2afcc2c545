"""Clients that only hold connections: `crowd_client.py HOST PORT IDLE HALF` opens that many, until its stdin ends.

IDLE of them send nothing, HALF of them half a header section. Whoever is thrown out comes back at once. It prints a line
when all are connected.
"""

from __future__ import annotations

import selectors
import socket
import sys

HALF_A_HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Crowd:
    """Connections that stay as long as the server lets them."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def join(self, said: bytes) -> None:
        """One more connection."""
        made = socket.create_connection(self._address)
        made.sendall(said)
        self._selector.register(made, selectors.EVENT_READ, said)

    def stay(self) -> None:
        """Come back until stdin ends."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    return
                self._come_back(key)

    def _come_back(self, key: selectors.SelectorKey) -> None:
        old = key.fileobj
        assert isinstance(old, socket.socket)
        try:
            if old.recv(65536):
                return
        except OSError:
            pass
        self._selector.unregister(old)
        old.close()
        self.join(key.data)


def main() -> None:
    """See above."""
    host, port, idle, half = sys.argv[1:]
    crowd = Crowd((host, int(port)))
    for said in [b""] * int(idle) + [HALF_A_HEAD] * int(half):
        crowd.join(said)
    print("all are connected", flush=True)
    crowd.stay()


if __name__ == "__main__":
    main()
