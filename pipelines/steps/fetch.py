"""fetch: the files of the three commits, and what changed in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipelines.context import Context
from pipelines.repositories.changes import Changes, Fetched
from pipelines.repositories.git import in_parallel
from pipelines.repositories.git_cache import manifest_of
from pipelines.repositories.outside.manifest import Manifest, parse
from pipelines.reuse import prepared_data
from pipelines.reuse.up_to_date import digest_of, known_already
from pipelines.runs import NothingToDo, RunFolder
from pipelines.text.sizes import bytes_text
from registry import candidates, codec
from registry.records import Sources

MAX_AUTHORS = 2000
REPOSITORIES = ("code", "dataset", "tests")


def main(context: Context, folder: RunFolder) -> str:
    """Write `sources/<name>` and `fetched.json`; raises ConfigError or TryAgain, naming the repository, and NothingToDo
    when an earlier run has found out all that there is to find out about these files."""
    run = folder.run
    since = run.parent or run.candidate
    before = candidates.manifest(context.store, run.model, since).sources if since else None
    work: list[Callable[[], tuple[Changes, str] | None]] = [
        *(partial(_look, context, folder, before, name) for name in REPOSITORIES),
        *(partial(_check_out, context, folder, name) for name in REPOSITORIES),
    ]
    looks = [each for each in in_parallel(lambda task: task(), work) if each]
    changes = tuple(each for each, _digest in looks)
    contents = {each.repository: digest for each, digest in looks}
    contents["trainyard"] = " ".join(prepared_data.tools(context, prepared_data.PACKAGES))  # an upgrade asks anew
    files = digest_of(contents)
    manifest = _manifest(folder)
    codec.save(
        Fetched(changes, files, _authors(context, folder), manifest.digest if manifest else None),
        folder.root / "fetched.json",
    )
    if known := known_already(context, folder, files):
        raise NothingToDo(f"nothing that matters is new; {known}")
    new = [f"{each.repository} “{each.commits[0].subject}”" for each in changes if each.commits]
    outside = f"; {len(manifest.files)} files outside git, {bytes_text(manifest.size)}" if manifest else ""
    return (", ".join(new) or "no change") + outside


def _manifest(folder: RunFolder) -> Manifest | None:
    """What of the dataset's files does not lie in git."""
    path = manifest_of(folder.sources / "dataset")
    return parse(path.read_bytes(), str(path)) if path.exists() else None


def _authors(context: Context, folder: RunFolder) -> tuple[str, ...] | None:
    """Who made the commits that a release of this run's candidate would bring; None when they are too many to list, or
    not known, as a repository is shallow."""
    run = folder.run
    live = candidates.manifest(context.store, run.model, run.parent).sources if run.parent else None
    found: set[str] = set()
    for name in REPOSITORIES:
        url, commit = context.url(name), getattr(run.sources, name)
        old = getattr(live, name) if live else None
        authors = context.git.read(url, commit, name, partial(context.git.authors, url, old, commit))
        if authors is None:
            return None
        found |= authors
    return tuple(sorted(found)) if len(found) <= MAX_AUTHORS else None


def _look(context: Context, folder: RunFolder, before: Sources | None, name: str) -> tuple[Changes, str]:
    """What is new in a repository, and a digest of its files that matter."""
    git, url, commit = context.git, context.url(name), getattr(folder.run.sources, name)
    old = getattr(before, name) if before else None
    unimportant = context.config.repositories.unimportant

    def look() -> tuple[Changes, str]:
        return git.changes(url, old, commit, name), git.content_digest(url, commit, unimportant)

    return git.read(url, commit, name, look)


def _check_out(context: Context, folder: RunFolder, name: str) -> None:
    if name == "dataset":
        prepared_data.check_out(context, folder)
    else:
        commit = getattr(folder.run.sources, name)
        context.git.fetch_and_checkout(context.url(name), commit, name, folder.sources / name)
