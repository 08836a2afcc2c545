"""Whether an API may be started with the access that its job gives, before anything is; and what it has to read for it."""

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


def paths(job: ServeJob) -> tuple[Path, ...]:
    """What the API reads while it runs, besides its model: folders, because the files in them are replaced."""
    files = [each for each in (job.tokens, job.certfile, job.keyfile) if each]
    given = [Path(each).parent for each in files]
    real = [Path(each).resolve().parent for each in files]  # certbot's files are links into another folder
    return tuple(dict.fromkeys([*given, *real]))
