"""Whether an API may be started with the access that its job gives, before anything is."""

from __future__ import annotations

from pathlib import Path

from registry.errors import ConfigError
from serving.access import tls, tokens
from serving.access.exposure import refuse_exposed
from serving.job import ServeJob


def check(job: ServeJob) -> list[str]:
    """Raise ConfigError for what cannot work, or would let strangers in; gives what an operator should know besides."""
    refuse_exposed(job)
    refuse_same_port(job)
    notes = []
    if job.certfile:
        tls.load(job.certfile, job.keyfile)
        notes += tls.problems(job.certfile, job.keyfile)
    if job.auth == "tokens" and not tokens.read(Path(job.tokens)).tokens:
        notes.append("no token exists, so nobody may ask for predictions: `trainyard token make NAME` makes one")
    return notes


def refuse_same_port(job: ServeJob) -> None:
    """Raise ConfigError for a port that two settings name."""
    for name, port in (("port", job.port), ("admin_port", job.admin_port)):
        if port and port == job.grpc_port:
            raise ConfigError(
                f"[serving] grpc_port: {port} is {name} already", hint="each port of the API is another one"
            )
