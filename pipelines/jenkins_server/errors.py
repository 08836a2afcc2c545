"""Errors for refused and failed requests: who must act, what Jenkins' page says, and what to do next."""

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
"""Parts of Jenkins' pages that hold the error; around them are menus."""
HOW_TO = "docs/how-to/jenkins.md"


class Refused(ConfigError):
    """Jenkins refuses a request; `status` is HTTP's."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotFound(Refused):
    """404: the page does not exist, or this user may not see it."""


class Forbidden(Refused):
    """403: this user may not do this."""


def refused(
    answer: Response, path: str, settings: JenkinsServer, hidden: Callable[[str], str] = clean
) -> PipelineError:
    """The error for a refusal; `hidden` turns text of Jenkins into one line without secrets."""
    status, where = answer.status_code, f"Jenkins at {settings.url}"
    reason = hidden(_reason(answer))
    page = path.partition("?")[0]
    if status == 401:
        return ConfigError(
            f"{where} rejects user {settings.user!r} with this token (401)",
            hint="[jenkins] user is the login name; put an API token of that user into TRAINYARD_JENKINS_TOKEN",
        )
    if status == 403:
        return _forbidden(answer, reason, page, settings)
    if status == 404:
        return NotFound(
            f"{where} has no {page} (404)",
            hint=f"it does not exist, or {settings.user} lacks Job/Read on it; `trainyard jenkins apply` creates the Jenkins jobs",
            status=status,
        )
    if status == 503:
        return TryAgain(
            f"{where} is not ready (503): {reason or 'it is starting up'}", hint="wait a minute, then retry"
        )
    if status in {502, 504}:
        return TryAgain(
            f"{where}: the proxy in front of it got no answer from it ({status})", hint="is Jenkins running?"
        )
    if status == 429:
        return TryAgain(f"{where} limits the rate of requests (429): {reason}", hint="wait a minute, then retry")
    if 300 <= status < 400:
        location = hidden(answer.headers.get("Location", ""))
        return ConfigError(
            f"{where} redirects {page} to {location} ({status})", hint="put the final address into [jenkins] url"
        )
    if status >= 500:
        return Refused(
            f"{where} failed on {page} ({status}): {reason}",
            hint="Jenkins' own log has the cause: Manage Jenkins > System Log",
            status=status,
        )
    return Refused(f"{where} refuses {page} ({status}): {reason}", hint=f"see {HOW_TO}", status=status)


def _forbidden(answer: Response, reason: str, page: str, settings: JenkinsServer) -> Forbidden:
    where = f"Jenkins at {settings.url}"
    found = MISSING.search(reason)
    permission = found[1] if found else _permission(answer.headers.get("X-Required-Permission", ""))
    if permission:
        return Forbidden(
            f"{where}: user {settings.user!r} is missing the {permission} permission ({page})",
            hint=f"an administrator of Jenkins can grant it; {HOW_TO} lists the permissions",
            status=403,
        )
    if "crumb" in reason.lower():
        return Forbidden(
            f"{where} requires a crumb, and rejects the one it issued (403): {reason}",
            hint="use an API token instead of a password in TRAINYARD_JENKINS_TOKEN: it needs no crumb",
            status=403,
        )
    return Forbidden(
        f"{where} forbids {page} to user {settings.user!r} (403): {reason}",
        hint=f"a missing permission, or a proxy in front of it; {HOW_TO} lists the permissions",
        status=403,
    )


def _permission(permission: str) -> str:
    """`hudson.model.Item.Create`, as the header has it, as Jenkins' own pages call it: `Job/Create`."""
    owner, _, name = permission.rpartition(".")
    groups = {"hudson.model.Hudson": "Overall", "hudson.model.Item": "Job", "hudson.model.Run": "Run"}
    groups |= {"jenkins.model.Jenkins": "Overall", "hudson.scm.SCM": "SCM"}
    return f"{groups.get(owner, owner)}/{name}" if name else ""


def unreachable(error: RequestException, settings: JenkinsServer) -> tuple[PipelineError, bool]:
    """The error for a request without an answer, and whether it is certain that Jenkins did not get the request."""
    from requests import exceptions

    where, causes = f"Jenkins at {settings.url}", list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigError(
                f"{where}: its certificate is not trusted ({cause.verify_message})",
                hint="set [jenkins] ca_file to the certificate of the authority that signed it",
            ), True
    if any(isinstance(each, ssl.SSLError) for each in causes) or isinstance(error, exceptions.SSLError):
        return ConfigError(
            f"{where}: TLS failed ({clean(str(causes[-1]), 200)})", hint="does it serve http:// only?"
        ), True
    if isinstance(error, (exceptions.InvalidURL, exceptions.MissingSchema, exceptions.InvalidSchema)):
        return ConfigError(
            f"[jenkins] url: {settings.url!r} is not a URL", hint="e.g. https://jenkins.example.org"
        ), True
    for cause in causes:
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return ConfigError(f"{where}: unknown host ({cause.strerror})", hint="check [jenkins] url"), True
    if isinstance(error, exceptions.ProxyError):
        return TryAgain(
            f"{where}: the proxy refuses the connection", hint="check HTTPS_PROXY, HTTP_PROXY, NO_PROXY"
        ), False
    if isinstance(error, exceptions.Timeout):
        never_sent = isinstance(error, exceptions.ConnectTimeout)
        return TryAgain(
            f"{where}: no answer within {settings.timeout_seconds:g} s",
            hint="retry later, or raise [jenkins] timeout_seconds, the limit for one answer",
        ), never_sent
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return TryAgain(f"{where}: connection refused", hint="is Jenkins running, and is [jenkins] url right?"), True
    why = next((str(each.strerror) for each in reversed(causes) if isinstance(each, OSError) and each.strerror), "")
    return TryAgain(f"{where}: the connection broke ({why or clean(str(causes[-1]), 120)})", hint="retry"), False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: requests wraps urllib3's error, which wraps the system's."""
    seen: set[int] = set()
    pending: list[BaseException] = [error]
    while pending:
        each = pending.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        pending += [one for one in inner if isinstance(one, BaseException)]


def _reason(answer: Response) -> str:
    """What a person would read on the page."""
    if error := answer.headers.get("X-Error", ""):  # Jenkins' text for a user's mistake; headers are latin-1
        return error.encode("latin-1", "replace").decode("utf-8", "replace")
    text = answer.content[:500_000].decode("utf-8", "replace")
    if "html" not in answer.headers.get("Content-Type", "") and "<html" not in text[:1000].lower():
        return text[:2000]
    page = _Page()
    page.feed(text)
    page.close()
    return page.message() or answer.reason or ""


class _Page(HTMLParser):
    """The text of a page: that of its content if it has such a part, else all that is visible, else its title."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, str]] = []  # tag, id
        self._texts: dict[str, list[str]] = {name: [] for name in ("", "title", *CONTENT)}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the tag until it closes; void elements never do."""
        if tag not in {"br", "hr", "img", "input", "link", "meta"}:
            self._open.append((tag, dict(attrs).get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        """Forget the tag, and what is still open in it."""
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                del self._open[index:]
                return

    def handle_data(self, data: str) -> None:
        """Sort the text by the part that holds it."""
        tags, ids = {tag for tag, _ in self._open}, {name for _, name in self._open}
        if "title" in tags:
            self._texts["title"].append(data)
        if tags & INVISIBLE:
            return
        for name in ("", *(ids & set(CONTENT))):
            self._texts[name].append(data)

    def message(self) -> str:
        """The text of the best part, in one line."""
        for name in (*CONTENT, "", "title"):
            if text := " ".join(" ".join(self._texts[name]).split()):
                return text
        return ""
