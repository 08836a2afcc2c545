"""Whether an API may be started with the access that its job gives, before anything is."""

from __future__ import annotations

from pathlib import Path

from serving.access import tls, tokens
from serving.access.exposure import refuse_exposed
from serving.job import ServeJob


def check(job: ServeJob) -> list[str]:
    """Raise ConfigError for what cannot work, or would let strangers in; gives what an operator should know besides."""
    refuse_exposed(job)
    notes = []
    if job.certfile:
        tls.load(job.certfile, job.keyfile)
        notes += tls.problems(job.certfile, job.keyfile)
    if job.auth == "tokens" and not tokens.read(Path(job.tokens)).tokens:
        notes.append("no token exists, so nobody may ask for predictions: `trainyard token make NAME` makes one")
    return notes
