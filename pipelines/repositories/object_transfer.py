"""Fetches and sends objects over HTTP, in a process that can reach one folder and the ports of the servers, no more:

    python -I -S object_transfer.py < job.json > answers.json

Standard library only. It decides nothing: to which addresses it connects, with which headers, what to make of an answer and
whether the bytes are right is for who asks (`lfs.py`, `outside/s3.py`). A redirection is given back, not followed.

    job      {"certificates": PEM or "", "at_once": 4, "requests": [{"url", "ips", "headers", "body", "into", "size",
              "shorter", "from", "sha256"}]}
    answers  [{"status", "location", "body"} or {"error", "lasting", "changed", "full"}]

`into` is a file for an answer of `size` bytes, or, with `shorter`, of at most so many; without it the answer's text, of at
most 64 MB, is given back. `from` is a file that is put there, if it has just `size` bytes, and this SHA-256.
"""

from __future__ import annotations

import errno
import hashlib
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

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.open: dict[tuple[str, int, bool], Connection] = {}
        self.context = context

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, or the error; once more when the server has closed a connection meanwhile."""
        for fresh in (False, True):
            try:
                return self._answer(request)
            except ssl.SSLCertVerificationError as error:
                return {"error": f"its certificate is not accepted: {error.verify_message}", "lasting": True}
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
                    return {"error": str(error), "lasting": True, "full": True}
                if fresh:
                    return {"error": str(error) or type(error).__name__, "lasting": False}
        raise AssertionError

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        url = urlsplit(request["url"])
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        key = (url.hostname or "", port, tls)
        if key not in self.open:
            self.open[key] = Connection(key[0], port, request["ips"], self.context if tls else None)
        connection = self.open[key]
        try:
            return self._exchange(request, key, connection)
        except BaseException:  # the rest of that answer would be read as the next one
            self.open.pop(key, connection).close()
            raise

    def _exchange(self, request: dict[str, Any], key: tuple[str, int, bool], connection: Connection) -> dict[str, Any]:
        url = urlsplit(request["url"])
        method, body = ("POST", request["body"].encode()) if request.get("body") else ("GET", None)
        if request.get("from"):
            method, body = "PUT", _content(request)
            if body is None:
                return {"error": "the file has changed", "lasting": True, "changed": True}
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request(method, path, body, {"Accept-Encoding": "identity", **request["headers"]})
        with connection.getresponse() as response:
            if response.status == OK and request.get("into"):
                given = _save(response, request) or {"status": OK}
            else:
                text = response.read(LARGEST_TEXT if response.status == OK else SHOWN).decode("utf-8", "replace")
                given = {"status": response.status, "location": response.headers.get("Location", ""), "body": text}
            if not response.isclosed():  # there may be more of it
                self.open.pop(key).close()
            return given


def _content(request: dict[str, Any]) -> bytes | None:
    """The bytes to send; None when they are not those that were announced."""
    with open(request["from"], "rb") as file:
        data = file.read(request["size"] + 1)
    is_right = len(data) == request["size"] and hashlib.sha256(data).hexdigest() == request["sha256"]
    return data if is_right else None


def _save(response: http.client.HTTPResponse, request: dict[str, Any]) -> dict[str, Any] | None:
    """Write the answer to a file; the error when it is longer than it may be, or ends early."""
    left, announced = request["size"], response.length
    with open(request["into"], "wb") as file:
        while chunk := response.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                response.close()
                return {"error": f"more than the {request['size']} bytes that it may have", "lasting": True}
            file.write(chunk)
    missing = left if not request.get("shorter") else (announced or 0) - (request["size"] - left)
    return {"error": f"ended {missing} bytes early", "lasting": False} if missing > 0 else None


def _context(job: dict[str, Any]) -> ssl.SSLContext | None:
    """What certificates are accepted; None when no request needs to know, as reading all of them takes its time."""
    if not any(each["url"].startswith("https:") for each in job["requests"]):
        return None
    context = ssl.create_default_context()
    if job["certificates"]:
        context.load_verify_locations(cadata=job["certificates"])
    return context


def main() -> None:
    """Answer all requests of the job, some at once."""
    job = json.load(sys.stdin)
    client = Client(_context(job))
    with ThreadPoolExecutor(job.get("at_once", AT_ONCE)) as pool:
        json.dump(list(pool.map(client.answer, job["requests"])), sys.stdout)


if __name__ == "__main__":
    main()
