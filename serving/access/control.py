"""The rules of serving.access.policy for one listening socket: with the tokens, the rates, and what a request looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.access.exposure import accepted_hosts, is_loopback
from serving.access.policy import Asked, Decision, Rules, decide, too_many
from serving.access.rate import RateLimit
from serving.access.tokens import Token, TokenFile
from serving.job import ServeJob

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Belongs to one port. `rate` is shared by all server processes."""

    rules: Rules
    find: Callable[[str], Token | None] = lambda _token: None
    rate: RateLimit | None = None

    def decide(self, environ: WSGIEnvironment) -> Decision:
        """The decision about a request."""
        asked = asked_by(environ)
        decision = decide(asked, self.rules, self.find)
        if self.rate and decision.counts_as and (seconds := self.rate.wait(decision.counts_as)):
            return decision._replace(refused=too_many(seconds), preflight=False)
        return decision


def for_clients(job: ServeJob, rate: RateLimit | None) -> AccessControl | None:
    """Of the clients' port; None when there is no rule, so that none costs time."""
    rules = Rules(accepted_hosts(job, job.host), frozenset(job.cors_origins))
    if job.auth == "tokens":
        rules = replace(rules, role="predict", roles={"/feedback": "feedback"})
    if rules == Rules() and rate is None:
        return None
    return AccessControl(rules, _find(job, needed=rules.role is not None), rate)


def for_grpc(job: ServeJob, rate: RateLimit | None) -> AccessControl | None:
    """As `for_clients`, of the port for gRPC: no browser speaks it, so there are no hosts and origins to check."""
    rules = Rules(role="predict" if job.auth == "tokens" else None)
    if rules.role is None and rate is None:
        return None
    return AccessControl(rules, _find(job, needed=rules.role is not None), rate)


def for_operators(job: ServeJob) -> AccessControl:
    """Of the operator's port: on the loopback interface it needs no token."""
    needed = job.auth == "tokens" and not is_loopback(job.admin_host)
    rules = Rules(accepted_hosts(job, job.admin_host), frozenset(), "operate" if needed else None)
    return AccessControl(rules, _find(job, needed=needed))


def asked_by(environ: WSGIEnvironment) -> Asked:
    """What the rules look at, of a request."""
    get: Callable[[str, str], Any] = environ.get
    method = environ["REQUEST_METHOD"]
    return Asked(
        method=method,
        path=environ["PATH_INFO"],
        host=get("HTTP_HOST", ""),
        address=get("REMOTE_ADDR", ""),
        authorization=get("HTTP_AUTHORIZATION", ""),
        origin=get("HTTP_ORIGIN", ""),
        preflight=method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ,
    )


def _find(job: ServeJob, *, needed: bool) -> Callable[[str], Token | None]:
    return TokenFile(Path(job.tokens)).find if needed else lambda _token: None
