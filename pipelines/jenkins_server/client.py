"""Requests to one Jenkins: retries while it restarts, crumbs, and errors with hints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pipelines.config.load import secret
from pipelines.config.schema import Config, JenkinsServer
from pipelines.jenkins_server.console import without_notes
from pipelines.jenkins_server.errors import NotFound, refused, unreachable
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError, PipelineError, TryAgain

if TYPE_CHECKING:
    import requests

    from pipelines.jenkins_server.transport import Server

__all__ = ["Answer", "Chunk", "JenkinsClient", "NotFound", "job_path", "open_jenkins"]

PATIENCE = 120.0  # seconds to wait for a Jenkins that starts
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds
BUSY = {502, 503, 504}
NOT_CARRIED_OUT = {503}
"""Statuses of a request that was not carried out: Jenkins is starting up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Jenkins' answer to a POST. Names of `headers` are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a console: the next one starts at `end`, and there is one as long as `more`."""

    text: str
    end: int
    more: bool


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed request; `repeatable`: a retry does no harm, and may help."""

    error: PipelineError
    repeatable: bool


def job_path(*names: str) -> str:
    """`job_path("team/digits", "code")`: `job/team/job/digits/job/code`, for the calls below."""
    parts = [part for name in names for part in name.split("/") if part]
    return "/".join(f"job/{quote(part, safe='')}" for part in parts)


def open_jenkins(config: Config, *, patience: float = PATIENCE) -> JenkinsClient:
    """The Jenkins of `[jenkins]`, with the token `TRAINYARD_JENKINS_TOKEN`. Nothing is sent yet.

    `patience`: seconds to wait in all for a Jenkins that is starting, or that answered before and now restarts.
    Raises ConfigError when a setting is missing.
    """
    server = config.jenkins
    missing = [f"[jenkins] {name} is empty" for name in ("url", "user") if not getattr(server, name)]
    if server.url and not server.url.lower().startswith(("http://", "https://")):
        missing.append(f"[jenkins] url: {server.url!r} does not begin with http:// or https://")
    token = secret("JENKINS_TOKEN")
    if not token:
        missing.append("TRAINYARD_JENKINS_TOKEN is not set")
    if missing:
        raise ConfigError(
            "; ".join(missing),
            hint="an API token is made in Jenkins under your user > Security; docs/how-to/jenkins.md",
        )
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("TRAINYARD_JENKINS_TOKEN holds characters that no API token has", hint="paste it again")
    return JenkinsClient(_connect(server, token), server, token, patience)


def _connect(server: JenkinsServer, token: str) -> Server:
    try:
        from pipelines.jenkins_server.transport import Server
    except ImportError as error:
        raise ConfigError(
            f"python-jenkins is not installed ({error})", hint="install Trainyard with its requirements.txt"
        ) from None
    try:
        return Server(server.url, server.user, token, server.timeout_seconds, server.ca_file)
    except OSError as error:
        raise ConfigError(
            f"[jenkins] ca_file: cannot read {server.ca_file}: {error}", hint="name a file of PEM certificates"
        ) from None


class JenkinsClient:
    """One Jenkins and one user. Paths are relative to Jenkins' root (`job_path`), without a leading slash.

    Every call may raise ConfigError (a person must change something; NotFound for 404), or TryAgain. A GET is
    retried, as long as `patience` lasts, while Jenkins starts or restarts; a POST only when it is certain that it was
    not carried out. Not safe for several threads: open one each.
    """

    def __init__(self, server: Server, settings: JenkinsServer, token: str, patience: float) -> None:
        self._server = server
        self._settings = settings
        self._token = token
        self._patience = patience
        self._seen = False
        self._needs_crumb = False
        self.pause: Callable[[float], None] = time.sleep
        """How to wait; tests replace it."""
        self.clock: Callable[[], float] = time.monotonic

    @property
    def url(self) -> str:
        """The root, with a slash at its end."""
        return str(self._server.server)

    def version(self) -> str:
        """Jenkins' version, from a request with credentials: anonymous users may not be allowed to ask."""
        answer = self._send("GET", "api/json?tree=mode")
        version = answer.headers.get("X-Jenkins", "")
        if not version:
            raise ConfigError(
                f"{self.url} answers, but is not a Jenkins", hint="[jenkins] url is the address of Jenkins' start page"
            )
        return version

    def get(self, path: str, tree: str = "") -> dict[str, Any]:
        """The JSON of `path`, e.g. `job_path(folder, "code") + "/api/json"`; `tree` names the fields that are wanted."""
        answer = self._send("GET", path + (f"?{urlencode({'tree': tree})}" if tree else ""))
        try:
            found = json.loads(answer.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigError(
                f"{self.url}{path} does not answer with JSON",
                hint="[jenkins] url is the address of Jenkins' start page",
            )
        return found

    def xml(self, path: str) -> str:
        """The XML of `path`, e.g. `job_path(folder, "code") + "/config.xml"`."""
        return self._send("GET", path).content.decode("utf-8", "replace")

    def text(self, path: str, start: int = 0) -> Chunk:
        """A console from byte `start` on; `path` is a build's `…/logText/progressiveText`."""
        answer = self._send("GET", f"{path}?{urlencode({'start': start})}")
        end = answer.headers.get("X-Text-Size", "")
        return Chunk(
            answer.content.decode("utf-8", "replace"),
            int(end) if end.isdigit() else start + len(answer.content),
            answer.headers.get("X-More-Data", "") == "true",
        )

    def post(
        self, path: str, data: Mapping[str, str] | None = None, body: str | None = None, content_type: str | None = None
    ) -> Answer:
        """Send a form (`data`) or a `body`; redirects are not followed, their `Location` is in the answer's headers.

        Values go into the body, never into the URL, which servers and proxies log.
        """
        payload: Any = body.encode() if body is not None else data or {}
        kind = content_type or ("application/xml; charset=utf-8" if body is not None else None)
        answer = self._send("POST", path, payload, kind)
        return Answer(answer.status_code, answer.headers, answer.content.decode("utf-8", "replace"))

    def _send(self, method: str, path: str, data: Any = None, content_type: str | None = None) -> requests.Response:
        """One request, with retries; returns an answer that is not a refusal."""
        until, wait = self.clock() + self._patience, FIRST_PAUSE
        while True:
            got = self._try(method, path, data, content_type)
            if not isinstance(got, _Failure):
                return got
            if not (got.repeatable and isinstance(got.error, TryAgain)) or self.clock() + wait > until:
                raise got.error
            self.pause(wait)
            wait = min(2 * wait, LONGEST_PAUSE)

    def _try(self, method: str, path: str, data: Any, content_type: str | None) -> requests.Response | _Failure:
        from requests import RequestException

        try:
            answer = self._exchange(method, path, data, content_type)
        except RequestException as error:
            problem, never_sent = unreachable(error, self._settings)
            # before the first answer, a wrong URL is likelier than a restart
            return _Failure(problem, repeatable=self._seen and (method == "GET" or never_sent))
        status = answer.status_code
        if status < 300 or (method == "POST" and status < 400):
            self._seen = True
            return answer
        problem = refused(answer, path, self._settings, self._hidden)
        return _Failure(problem, repeatable=status in BUSY and (method == "GET" or status in NOT_CARRIED_OUT))

    def _exchange(self, method: str, path: str, data: Any, content_type: str | None) -> requests.Response:
        answer = self._once(method, path, data, content_type)
        if method == "POST" and answer.status_code == 403 and "X-Required-Permission" not in answer.headers:
            # the session's crumb is missing or has expired, e.g. by a restart: a refused POST changed nothing
            self._server.forget_crumb()
            self._needs_crumb = True
            answer = self._once(method, path, data, content_type)
        return answer

    def _once(self, method: str, path: str, data: Any, content_type: str | None) -> requests.Response:
        from requests import Request

        headers = {"Accept-Language": "en"} | ({"Content-Type": content_type} if content_type else {})
        request = Request(method, self.url + path, data=data, headers=headers)
        return self._server.ask(request, crumb=method == "POST" and self._needs_crumb)

    def _hidden(self, text: str) -> str:
        return clean(without_notes(text).replace(self._token, "********"), 300)
