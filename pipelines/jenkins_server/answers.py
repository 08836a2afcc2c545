"""What Jenkins' refusals and silences mean to a person: the kind of error, its words, and what to do next."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from pipelines.config.schema import JenkinsServer
from pipelines.text.clean import clean
from registry.errors import ConfigError, PipelineError, TryAgain

if TYPE_CHECKING:
    from requests import RequestException, Response

MISSING = re.compile(r"\S+ is missing the ([\w. -]+/[\w. -]+) permission")
INVISIBLE = {"script", "style", "head", "header", "footer", "noscript"}
CONTENT = ("error-description", "main-panel")
"""Where Jenkins' pages say what is wrong; around it are menus."""
HOW_TO = "docs/how-to/jenkins.md"


class Refused(ConfigError):
    """Jenkins says no to a request; `status` is HTTP's."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotThere(Refused):
    """404: there is no such page, or this user may not see that there is one."""


class Forbidden(Refused):
    """403: this user may not do this."""


def refused(
    answer: Response, path: str, settings: JenkinsServer, hidden: Callable[[str], str] = clean
) -> PipelineError:
    """The error for an answer that is none; `hidden` makes one line of Jenkins' words, without secrets."""
    status, where = answer.status_code, f"Jenkins at {settings.url}"
    said = hidden(_said(answer))
    page = path.partition("?")[0]
    if status == 401:
        return ConfigError(
            f"{where} does not know user {settings.user!r} with this token (401)",
            hint="[jenkins] user is the login name; put an API token of that user into TRAINYARD_JENKINS_TOKEN",
        )
    if status == 403:
        return _forbidden(answer, said, page, settings)
    if status == 404:
        return NotThere(
            f"{where} has no {page} (404)",
            hint=f"it does not exist, or {settings.user} lacks Job/Read on it; `trainyard jenkins apply` makes the jobs",
            status=status,
        )
    if status == 503:
        return TryAgain(f"{where} is not ready (503): {said or 'it is starting up'}", hint="wait a minute, then again")
    if status in {502, 504}:
        return TryAgain(f"{where}: a server before it has no answer from it ({status})", hint="is Jenkins running?")
    if status == 429:
        return TryAgain(f"{where} wants fewer requests (429): {said}", hint="wait a minute, then again")
    if 300 <= status < 400:
        place = hidden(answer.headers.get("Location", ""))
        return ConfigError(
            f"{where} sends {page} on to {place} ({status})", hint="put the final address into [jenkins] url"
        )
    if status >= 500:
        return Refused(
            f"{where} has failed on {page} ({status}): {said}",
            hint="Jenkins' own log has the reason: Manage > System Log",
            status=status,
        )
    return Refused(f"{where} refuses {page} ({status}): {said}", hint=f"see {HOW_TO}", status=status)


def _forbidden(answer: Response, said: str, page: str, settings: JenkinsServer) -> Forbidden:
    where = f"Jenkins at {settings.url}"
    found = MISSING.search(said)
    permission = found[1] if found else _named(answer.headers.get("X-Required-Permission", ""))
    if permission:
        return Forbidden(
            f"{where}: user {settings.user!r} is missing the {permission} permission ({page})",
            hint=f"whoever runs this Jenkins can grant it; {HOW_TO} lists what is needed",
            status=403,
        )
    if "crumb" in said.lower():
        return Forbidden(
            f"{where} wants a crumb, and does not accept its own (403): {said}",
            hint="use an API token instead of a password in TRAINYARD_JENKINS_TOKEN: it needs no crumb",
            status=403,
        )
    return Forbidden(
        f"{where} forbids {page} to user {settings.user!r} (403): {said}",
        hint=f"a missing permission, or a proxy before it; {HOW_TO} lists what is needed",
        status=403,
    )


def _named(permission: str) -> str:
    """`hudson.model.Item.Create`, as the header has it, in the words of Jenkins' own pages: `Job/Create`."""
    owner, _, name = permission.rpartition(".")
    groups = {"hudson.model.Hudson": "Overall", "hudson.model.Item": "Job", "hudson.model.Run": "Run"}
    groups |= {"jenkins.model.Jenkins": "Overall", "hudson.scm.SCM": "SCM"}
    return f"{groups.get(owner, owner)}/{name}" if name else ""


def unreachable(error: RequestException, settings: JenkinsServer) -> tuple[PipelineError, bool]:
    """The error for no answer at all, and whether it is certain that the request has not arrived."""
    from requests import exceptions

    where, causes = f"Jenkins at {settings.url}", list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigError(
                f"{where}: its certificate is not trusted ({cause.verify_message})",
                hint="[jenkins] ca_file names a company's own authority",
            ), True
    if any(isinstance(each, ssl.SSLError) for each in causes) or isinstance(error, exceptions.SSLError):
        return ConfigError(f"{where}: no TLS ({clean(str(causes[-1]), 200)})", hint="is it http:// there?"), True
    if isinstance(error, (exceptions.InvalidURL, exceptions.MissingSchema, exceptions.InvalidSchema)):
        return ConfigError(
            f"[jenkins] url: {settings.url!r} is no address", hint="e.g. https://jenkins.example.org"
        ), True
    for cause in causes:
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return ConfigError(f"{where}: there is no such host ({cause.strerror})", hint="look at [jenkins] url"), True
    if isinstance(error, exceptions.ProxyError):
        return TryAgain(f"{where}: the proxy does not let us through", hint="HTTPS_PROXY, HTTP_PROXY, NO_PROXY"), False
    if isinstance(error, exceptions.Timeout):
        never_sent = isinstance(error, exceptions.ConnectTimeout)
        return TryAgain(
            f"{where}: no answer within {settings.timeout_seconds:g} s",
            hint="the same command may work later; [jenkins] timeout_seconds is the limit for one answer",
        ), never_sent
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return TryAgain(f"{where}: connection refused", hint="is Jenkins running, and is [jenkins] url right?"), True
    why = next((str(each.strerror) for each in reversed(causes) if isinstance(each, OSError) and each.strerror), "")
    return TryAgain(f"{where}: the connection broke ({why or clean(str(causes[-1]), 120)})", hint="try again"), False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: requests wraps urllib3's error, which wraps the system's."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        waiting += [one for one in inner if isinstance(one, BaseException)]


def _said(answer: Response) -> str:
    """What a person would read on the page."""
    if told := answer.headers.get("X-Error", ""):  # what Jenkins calls a user's mistake; headers are latin-1
        return told.encode("latin-1", "replace").decode("utf-8", "replace")
    text = answer.content[:500_000].decode("utf-8", "replace")
    if "html" not in answer.headers.get("Content-Type", "") and "<html" not in text[:1000].lower():
        return text[:2000]
    page = _Page()
    page.feed(text)
    page.close()
    return page.message() or answer.reason or ""


class _Page(HTMLParser):
    """The words of a page: those of its content if it has such a part, else all that is visible, else its title."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, str]] = []  # tag, id
        self._words: dict[str, list[str]] = {name: [] for name in ("", "title", *CONTENT)}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Go in; what never closes is not remembered."""
        if tag not in {"br", "hr", "img", "input", "link", "meta"}:
            self._open.append((tag, dict(attrs).get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        """Go out to where this tag was opened."""
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                del self._open[index:]
                return

    def handle_data(self, data: str) -> None:
        """Sort the words by where they stand."""
        tags, ids = {tag for tag, _ in self._open}, {name for _, name in self._open}
        if "title" in tags:
            self._words["title"].append(data)
        if tags & INVISIBLE:
            return
        for name in ("", *(ids & set(CONTENT))):
            self._words[name].append(data)

    def message(self) -> str:
        """The best words that were found, in one line."""
        for name in (*CONTENT, "", "title"):
            if words := " ".join(" ".join(self._words[name]).split()):
                return words
        return ""
