"""fetch: the files of the three commits, and what changed in words."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines import datasets
from pipelines.context import Context
from pipelines.flow import Enough
from pipelines.git import at_once
from pipelines.git_cache import Changes
from pipelines.runs import RunFolder
from pipelines.unchanged import fingerprint, known_already
from registry import candidates, codec


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is new in each repository since the version that is live (or, without one, the newest candidate)."""

    changes: tuple[Changes, ...]
    files: str = ""
    """A digest of all files that matter, see `pipelines.unchanged`."""


def main(context: Context, folder: RunFolder) -> str:
    """Write `sources/<name>` and `fetched.json`; raises ConfigError or TryAgain, naming the repository, and Enough when
    an earlier run has found out all that there is to find out about these files."""
    run = folder.run
    since = run.parent or run.candidate
    before = candidates.card(context.store, run.model, since).sources if since else None

    contents: dict[str, str] = {}

    def bring(name: str) -> Changes:
        url, commit = context.url(name), getattr(run.sources, name)
        if name == "dataset":
            datasets.check_out(context, folder)
        else:
            context.git.bring(url, commit, name, folder.sources / name)

        def look() -> Changes:
            contents[name] = context.git.content(url, commit, context.config.repositories.unimportant)
            return context.git.changes(url, getattr(before, name) if before else None, commit, name)

        return context.git.read(url, commit, name, look)

    changes = tuple(at_once(bring, ("code", "dataset", "tests")))
    contents["trainyard"] = " ".join(datasets.tools(context, datasets.EVERY_ROOM))  # an upgrade is another question
    files = fingerprint(contents)
    codec.save(Fetched(changes, files), folder.root / "fetched.json")
    if known := known_already(context, folder, files):
        raise Enough(f"nothing that matters is new; {known}")
    return (
        ", ".join(f"{each.repository} “{each.commits[0].subject}”" for each in changes if each.commits) or "no change"
    )
