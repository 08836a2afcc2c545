"""`python -P -m serving.server.health [PATH]`: asks the API that runs in the current folder, as a health check does.

Without PATH: exit code 0 when it is ready to predict, else 1 with the reason: what a container's health check wants.
With one, e.g. `/version`: prints the answer; 0 whatever its status is, 1 when there is none. Light.
"""

from __future__ import annotations

import json
import socket
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from serving.server import lockfile

SECONDS = 4.0


class UnixConnection(HTTPConnection):
    """HTTP over the Unix socket at `path`."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Called by http.client."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(folder: Path, path: str, seconds: float = SECONDS) -> tuple[int, bytes]:
    """Status and body of `GET path` of the API in `folder`; raises OSError or HTTPException when there is no answer."""
    url = json.loads((folder / lockfile.ADDRESS_FILE).read_bytes())["url"]
    where = urlsplit(url)
    if where.scheme == "unix":
        connection: HTTPConnection = UnixConnection(where.path, seconds)
    else:
        connection = HTTPConnection(where.hostname or "", where.port, timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """The command."""
    try:
        status, body = ask(Path.cwd(), arguments[0] if arguments else "/health/ready")
    except (OSError, HTTPException, ValueError) as error:
        sys.stderr.write(f"no answer: {error or type(error).__name__}\n")
        return 1
    sys.stdout.write(body.decode(errors="replace") + "\n")
    return 0 if arguments or status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
