"""fetch: the files of the three commits, and what changed in words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.context import Context
from pipelines.git import Commit
from pipelines.runs import RunFolder
from registry import candidates, codec


@dataclass(frozen=True, slots=True)
class Changes:
    """Repository → the commits since the version that is live (or, without one, the newest candidate)."""

    commits: dict[str, tuple[Commit, ...]]


def main(context: Context, folder: RunFolder) -> str:
    """Write `sources/<name>` and `changes.json`; raises ConfigError or TryAgain, naming the repository."""
    run = folder.run
    since = run.parent or run.candidate
    before = candidates.card(context.store, run.model, since).sources if since else None

    def bring(name: str) -> tuple[Commit, ...]:
        url, commit = context.url(name), getattr(run.sources, name)
        context.git.fetch(url, commit, name)
        context.git.checkout(url, commit, folder.sources / name)
        return context.git.commits(url, getattr(before, name) if before else None, commit)

    names = ("code", "dataset", "tests")
    with ThreadPoolExecutor(len(names)) as pool:
        commits = dict(zip(names, pool.map(bring, names), strict=True))
    codec.save(Changes(commits), folder.root / "changes.json")
    return ", ".join(f"{name} “{found[0].subject}”" for name, found in commits.items() if found) or "nothing changed"
