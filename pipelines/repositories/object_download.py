"""Fetches objects of Git LFS over HTTP, in a process that can reach one folder and the ports of the servers, no more:

    python -I -S object_download.py < job.json > answers.json

Standard library only. It decides nothing: to which addresses it connects, with which headers, what to make of an answer and
whether the bytes are right is for `lfs.py`. A redirection is given back, not followed.

    job      {"certificates": PEM or "", "requests": [{"url", "ips", "headers", "body", "into", "size"}]}
    answers  [{"status", "location", "body"} or {"error", "lasting"}]

`into` is a file for an answer of `size` bytes at most; without it the answer's text, of at most 64 MB, is given back.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

SECONDS = 60.0  # without a byte
LARGEST_TEXT = 64 << 20
SHOWN = 2000
CHUNK = 1 << 20
AT_ONCE = 4
OK = 200


class Connection(http.client.HTTPConnection):
    """A connection to one of the given addresses; a certificate has to be of the host's name."""

    def __init__(self, host: str, port: int, ips: list[str], tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if tls else 80
        super().__init__(host, port, timeout=SECONDS)
        self.ips, self.tls = ips, tls

    def connect(self) -> None:
        """As HTTPConnection does, without asking for the host's addresses."""
        for last, ip in enumerate(self.ips, 1 - len(self.ips)):
            try:
                self.sock = socket.create_connection((ip, self.port), SECONDS)
            except OSError:
                if not last:
                    raise
            else:
                break
        if self.tls:
            self.sock = self.tls.wrap_socket(self.sock, server_hostname=self.host)


class Client(threading.local):
    """What one thread keeps: its open connections."""

    def __init__(self, certificates: str) -> None:
        self.open: dict[tuple[str, int, bool], Connection] = {}
        self.context = ssl.create_default_context()
        if certificates:
            self.context.load_verify_locations(cadata=certificates)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, or the error; once more when the server has closed a connection meanwhile."""
        for fresh in (False, True):
            try:
                return self._answer(request, fresh=fresh)
            except ssl.SSLCertVerificationError as error:
                return {"error": f"its certificate is not accepted: {error.verify_message}", "lasting": True}
            except (OSError, http.client.HTTPException) as error:
                if fresh:
                    return {"error": str(error) or type(error).__name__, "lasting": False}
        raise AssertionError

    def _answer(self, request: dict[str, Any], *, fresh: bool) -> dict[str, Any]:
        url = urlsplit(request["url"])
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        key = (url.hostname or "", port, tls)
        if fresh and key in self.open:
            self.open.pop(key).close()
        if key not in self.open:
            self.open[key] = Connection(key[0], port, request["ips"], self.context if tls else None)
        connection = self.open[key]
        method, body = ("POST", request["body"].encode()) if request.get("body") else ("GET", None)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request(method, path, body, {"Accept-Encoding": "identity", **request["headers"]})
        with connection.getresponse() as response:
            if response.status == OK and request.get("into"):
                given = _save(response, request["into"], request["size"]) or {"status": OK}
            else:
                text = response.read(LARGEST_TEXT if response.status == OK else SHOWN).decode("utf-8", "replace")
                given = {"status": response.status, "location": response.headers.get("Location", ""), "body": text}
            if not response.isclosed():  # there may be more of it
                self.open.pop(key).close()
            return given


def _save(response: http.client.HTTPResponse, into: str, size: int) -> dict[str, Any] | None:
    """Write the answer to a file; the error when it is longer than it may be, or ends early."""
    left = size
    with open(into, "wb") as file:
        while chunk := response.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                response.close()
                return {"error": f"more than the {size} bytes that the pointer says", "lasting": True}
            file.write(chunk)
    return {"error": f"ended {left} bytes early", "lasting": False} if left else None


def main() -> None:
    """Answer all requests of the job, some at once."""
    job = json.load(sys.stdin)
    client = Client(job["certificates"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        json.dump(list(pool.map(client.answer, job["requests"])), sys.stdout)


if __name__ == "__main__":
    main()
