"""Requests to the servers of other tools: bounded in time and in the size of its answers, without redirects."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

import requests
from requests.auth import AuthBase

from pipelines.text.clean import clean

MAX_ANSWER = 4 << 20  # bytes
SLOWEST = 1 << 20  # bytes of a file per second
SHOWN = 300  # characters of a reason
LATER = {401, 403, 404, 405, 407, 408, 425, 429}
"""Answers of a server that is set up otherwise, or busy: the same request may be taken later."""


class Unavailable(Exception):
    """There was no answer, or none that says anything about the request: it can be sent again later."""


class Refused(Exception):
    """The server will never take this; `code` is what it calls the reason."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class Bearer(AuthBase):
    """A token in the header: with it, requests looks for no password in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Server:
    """One server, asked over one connection. Certificates and proxies come from the environment, as requests has them."""

    def __init__(self, url: str, auth: AuthBase | tuple[str, str] | None, seconds: float, whole: float) -> None:
        """`seconds`: for one answer; `whole`: for all of them together."""
        self.url, self._address = url.rstrip("/"), url
        self._auth, self._seconds, self._until = auth, seconds, time.monotonic() + whole
        self._session = requests.Session()

    def ask(
        self, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The answer's JSON object, or an empty one; `body` is bytes, a file that is streamed, or sent as JSON.

        Raises Unavailable, Refused.
        """
        return self._read(*self._exchange(method, f"{self.url}/{path}", body, query))

    def deliver(self, document: object) -> None:
        """POST a document as JSON to the address itself; whatever a server says with a status below 300, it has taken it.

        Raises Unavailable, Refused.
        """
        code, reason, data = self._exchange("POST", self._address, document, None)
        if code >= 300:
            self._read(code, reason, data)

    def _exchange(
        self, method: str, address: str, body: object, query: Mapping[str, str] | None
    ) -> tuple[int, str, bytes]:
        """One request and its answer. What the time of a socket does not bound (names, many addresses, an answer that comes
        byte by byte) is waited for in a thread, which is left behind."""
        left = min(self._seconds, self._until - time.monotonic())
        if left <= 0:
            raise Unavailable(f"{self.url}: there was no time left")
        size = body.stat().st_size if isinstance(body, Path) else 0
        answers = SimpleQueue[tuple[int, str, bytes] | Exception]()

        def act() -> None:
            try:
                answers.put(self._ask(method, address, body, query, left))
            except Exception as error:  # noqa: BLE001  (raised again below)
                answers.put(error)

        threading.Thread(target=act, daemon=True).start()
        try:
            found = answers.get(timeout=left + size / SLOWEST)
        except Empty:
            self._until = 0.0  # the connection is not to be used again
            found = requests.Timeout()
        if isinstance(found, requests.Timeout):
            raise Unavailable(f"{self.url}: no answer within {self._seconds:g} seconds")
        if isinstance(found, requests.RequestException | OSError):
            raise Unavailable(f"{self.url}: cannot be reached: {_cause(found)}")
        if isinstance(found, Exception):
            raise found
        return found

    def _ask(
        self, method: str, address: str, body: object, query: Mapping[str, str] | None, seconds: float
    ) -> tuple[int, str, bytes]:
        """Status, its words and the body of the answer, of which MAX_ANSWER bytes and one more are read."""
        headers, data = dict[str, str](), cast("Any", body)
        with contextlib.ExitStack() as stack:
            if isinstance(body, Path):
                data = stack.enter_context(body.open("rb"))
            elif not isinstance(body, bytes | None):
                headers, data = {"Content-Type": "application/json"}, json.dumps(body)
            answer = stack.enter_context(
                self._session.request(
                    method, address, data=data, params=query, headers=headers,
                    auth=self._auth, timeout=seconds, allow_redirects=False, stream=True,
                )
            )  # fmt: skip
            read = b""
            for part in answer.iter_content(1 << 16):
                read += part
                if len(read) > MAX_ANSWER:
                    break
            return answer.status_code, answer.reason or "", read

    def _read(self, code: int, reason: str, data: bytes) -> dict[str, Any]:
        if len(data) > MAX_ANSWER:
            raise Unavailable(f"{self.url}: its answer is too long")
        try:
            found = json.loads(data) if data.strip() else {}
        except (ValueError, RecursionError):
            found = None
        says = found if isinstance(found, dict) else {}
        if code < 300 and isinstance(found, dict):
            return found
        reason = clean(f"{self.url}: {code} {says.get('message') or reason}", SHOWN)
        if "error_code" in says and code in {400, 404, 409, 422}:
            raise Refused(reason, str(says["error_code"]))
        if code < 300:
            raise Unavailable(f"{self.url}: its answer is not JSON: is this the right address?")
        if 300 <= code < 400:
            raise Unavailable(f"{reason}: redirects are not followed: set the address that it leads to")
        if code >= 500 or code in LATER:
            raise Unavailable(reason)
        raise Refused(reason, str(code))


def _cause(error: BaseException) -> str:
    """The innermost reason, which says more than urllib3's whole tale."""
    while inner := (error.__cause__ or error.__context__):
        error = inner
    return clean(getattr(error, "strerror", None) or str(error) or type(error).__name__, SHOWN)
