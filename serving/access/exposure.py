"""Where the API listens, and whether everybody may ask there. Pure rules; light: the controller asks them, too."""

from __future__ import annotations

from ipaddress import ip_address

from registry.errors import ConfigError
from serving.job import ServeJob

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`. A name other than localhost may be anything."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_exposed(job: ServeJob) -> None:
    """Raise ConfigError for an API that strangers could ask without anybody having wanted that.

    In a container it is about where the container's ports are published.
    """
    if job.auth == "tokens" or job.open:
        return
    for name, host in (("host", job.host), ("admin_host", job.admin_host)):
        if not is_loopback(host):
            raise ConfigError(
                f"[serving] {name}: {host} can be reached from other machines, and everybody there may ask the API",
                hint='set [serving] auth = "tokens" and make some (`trainyard token make NAME`), or, when something else '
                "keeps strangers away, open = true",
            )


def accepted_hosts(job: ServeJob, host: str) -> frozenset[str] | None:
    """The names in a request's Host header that are answered, for what listens on `host`; None: all.

    A web page may have its own name resolve to 127.0.0.1 and so use its visitor's browser to ask the API: on the
    loopback interface only its own names are accepted, unless a trusted proxy in front of it passes on others. No such
    page can have the names of the loopback interface, so those are always accepted.
    """
    if job.allowed_hosts:
        return LOCAL_NAMES | {each.lower() for each in job.allowed_hosts}
    if not is_loopback(host) or job.trusted_proxies:
        return None
    return LOCAL_NAMES | {host.lower()}
