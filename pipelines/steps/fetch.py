"""fetch: the files of the three commits, and what changed in words."""

from __future__ import annotations

from functools import partial

from pipelines.context import Context
from pipelines.repositories.changes import Changes, Fetched
from pipelines.repositories.git import in_parallel
from pipelines.reuse import prepared_data
from pipelines.reuse.up_to_date import digest_of, known_already
from pipelines.runs import NothingToDo, RunFolder
from registry import candidates, codec

REPOSITORIES = ("code", "dataset", "tests")


def main(context: Context, folder: RunFolder) -> str:
    """Write `sources/<name>` and `fetched.json`; raises ConfigError or TryAgain, naming the repository, and NothingToDo when
    an earlier run has found out all that there is to find out about these files."""
    run = folder.run
    since = run.parent or run.candidate
    before = candidates.card(context.store, run.model, since).sources if since else None

    changes: dict[str, Changes] = {}
    contents: dict[str, str] = {}

    def bring(name: str) -> None:
        if name == "dataset":
            prepared_data.check_out(context, folder)
        else:
            context.git.fetch_and_checkout(context.url(name), getattr(run.sources, name), name, folder.sources / name)

    def look(name: str) -> None:
        url, commit = context.url(name), getattr(run.sources, name)

        def both() -> None:
            changes[name] = context.git.changes(url, getattr(before, name) if before else None, commit, name)
            contents[name] = context.git.content_digest(url, commit, context.config.repositories.unimportant)

        context.git.read(url, commit, name, both)

    in_parallel(lambda work: work(), [partial(work, name) for work in (look, bring) for name in REPOSITORIES])
    contents["trainyard"] = " ".join(
        prepared_data.tools(context, prepared_data.PACKAGES)
    )  # an upgrade is another question
    files = digest_of(contents)
    told = tuple(changes[name] for name in REPOSITORIES)
    codec.save(Fetched(told, files), folder.root / "fetched.json")
    if known := known_already(context, folder, files):
        raise NothingToDo(f"nothing that matters is new; {known}")
    return ", ".join(f"{each.repository} “{each.commits[0].subject}”" for each in told if each.commits) or "no change"
