"""fetch: the files of the three commits, and what changed in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pipelines.context import Context
from pipelines.repositories.changes import Changes, Fetched
from pipelines.repositories.git_cache import manifest_of
from pipelines.repositories.outside.manifest import Manifest, parse
from pipelines.repositories.processes import in_parallel
from pipelines.reuse import prepared_data
from pipelines.reuse.up_to_date import digest_of, known_already
from pipelines.runs import NothingToDo, RunFolder
from pipelines.text.sizes import bytes_text
from registry import candidates, codec
from registry.dataclass import dataclass
from registry.records import Sources

MAX_AUTHORS = 2000
REPOSITORIES = ("code", "dataset", "tests")


@dataclass(frozen=True, slots=True)
class Look:
    """What a repository's commits say: what is new, a digest of the files that matter, and who made what a release of this
    run's candidate would bring (None when a shallow repository does not say)."""

    changes: Changes
    digest: str
    authors: set[str] | None


def main(context: Context, folder: RunFolder) -> str:
    """Write `sources/<name>` and `fetched.json`; raises ConfigError or TryAgain, naming the repository, and NothingToDo
    when an earlier run has found out all that there is to find out about these files."""

    def look() -> tuple[str, list[Look]]:  # first what need not wait for git
        tools = " ".join(prepared_data.tools(context, prepared_data.PACKAGES))
        return tools, _looks(context, folder)

    code, dataset, tests = (partial(_check_out, context, folder, name) for name in REPOSITORIES)
    work: list[Callable[[], Any]] = [
        code,
        tests,
        look,
        dataset,
    ]  # mostly the dataset is here, and needs no other program
    _, _, (tools, looks), _ = in_parallel(lambda task: task(), work)
    contents = {each.changes.repository: each.digest for each in looks} | {"trainyard": tools}  # an upgrade asks anew
    files = digest_of(contents)
    changes = tuple(each.changes for each in looks)
    authors, manifest = _together([each.authors for each in looks]), _manifest(folder)
    codec.save(Fetched(changes, files, authors, manifest.digest if manifest else None), folder.root / "fetched.json")
    if known := known_already(context, folder, files):
        raise NothingToDo(f"nothing that matters is new; {known}")
    new = [f"{each.repository} “{each.commits[0].subject}”" for each in changes if each.commits]
    outside = f"; {len(manifest.files)} files outside git, {bytes_text(manifest.size)}" if manifest else ""
    return (", ".join(new) or "no change") + outside


def _manifest(folder: RunFolder) -> Manifest | None:
    """What of the dataset's files does not lie in git."""
    path = manifest_of(folder.sources / "dataset")
    return parse(path.read_bytes(), str(path)) if path.exists() else None


def _sources(context: Context, model: str, version: int | None) -> Sources | None:
    return candidates.manifest(context.store, model, version).sources if version else None


def _together(found: Sequence[set[str] | None]) -> tuple[str, ...] | None:
    """The authors of all repositories; None when they are too many to list, or not known, as a repository is shallow."""
    known = [each for each in found if each is not None]
    authors = set[str]().union(*known)
    return tuple(sorted(authors)) if len(known) == len(found) and len(authors) <= MAX_AUTHORS else None


def _looks(context: Context, folder: RunFolder) -> list[Look]:
    """One for each repository, while git fetches and writes the files."""
    run = folder.run
    live = _sources(context, run.model, run.parent)
    before = live or _sources(context, run.model, run.candidate)
    return [_look(context, folder, before, live, name) for name in reversed(REPOSITORIES)][::-1]


def _look(context: Context, folder: RunFolder, before: Sources | None, live: Sources | None, name: str) -> Look:
    """What is new in a repository since `before`, and who made what is new since the release `live`."""
    git, url, commit = context.git, context.url(name), getattr(folder.run.sources, name)
    unimportant, history = context.config.repositories.unimportant, git.history(url, commit, name)

    def look() -> Look:
        return Look(
            history.changes(getattr(before, name, None), commit, name),
            history.content_digest(commit, unimportant),
            history.authors(getattr(live, name, None), commit),
        )

    return git.read(url, commit, name, look)


def _check_out(context: Context, folder: RunFolder, name: str) -> None:
    if name == "dataset":
        prepared_data.check_out(context, folder)
    else:
        commit = getattr(folder.run.sources, name)
        context.git.fetch_and_checkout(context.url(name), commit, name, folder.sources / name)
