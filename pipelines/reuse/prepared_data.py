"""The files of a dataset commit and its prepared splits: made once, then shared by all runs about that commit.

What is shared is found by all that went into it: the commit, the job, the code that prepares it and the packages or the
image in which that ran. So a push to the code repository reads no image again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pipelines.context import Context
from pipelines.repositories.checkout import AS_COMMITTED
from pipelines.reuse.code_digest import code_digest
from pipelines.reuse.dataset_cache import DatasetCache, link_is_intact
from pipelines.reuse.symlinks import replace_with_symlink
from pipelines.runs import RunFolder
from registry.errors import PipelineError

MAKERS = ("training", "registry")
"""The packages whose code makes the splits."""
PACKAGES = (*MAKERS, "pipelines", "retraining", "serving", "unit_tests")


def check_out(context: Context, folder: RunFolder) -> None:
    """Write, or find, the dataset's files as `sources/dataset`; raises as `Cache.bring` does."""
    url, commit, target = context.url("dataset"), folder.run.sources.dataset, folder.sources / "dataset"
    cache = _cache(context, "files")
    if not link_is_intact(target):
        target.unlink()
    if target.is_dir():
        return
    if cache.shares_disk_with(folder.root):
        key = _digest(commit, *AS_COMMITTED, context.git.extras.chosen)
        content = cache.get(key, folder.root) or cache.add(
            key, folder.root, lambda into: context.git.fetch_and_checkout(url, commit, "dataset", into / "files")
        )
        replace_with_symlink(target, content / "files")
    else:
        context.git.fetch_and_checkout(url, commit, "dataset", target)


def find(context: Context, folder: RunFolder, job: str, key: str) -> bool:
    """Whether the outputs and the result of `job` are kept under `key`; then they are in its folder as if just made."""
    cache = _cache(context, job)
    content = None
    if cache.shares_disk_with(folder.root):
        content = cache.get(key, folder.root) or _from_others(context, cache, folder, job, key)
    if content:
        _lay_out(content, folder.job(job))
        return True
    for each in folder.job(job).glob("outputs/*"):
        if each.is_symlink():  # to what is gone or was altered: who makes it anew must not write there
            each.unlink()
    return False


def keep(context: Context, folder: RunFolder, job: str, key: str) -> None:
    """Keep the outputs and the result of `job` for other runs. They stay in its folder, as links."""
    cache, made = _cache(context, job), folder.job(job)
    if not cache.shares_disk_with(folder.root):
        return

    def move(into: Path) -> None:
        (made / "result.json").rename(into / "result.json")  # first: from now on the job is not done
        (made / "outputs").rename(into / "outputs")

    content = cache.add(key, folder.root, move)
    _lay_out(content, made)
    if not context.config.cache.url:
        return
    from pipelines.reuse.shared import if_possible  # with all that packs and unpacks

    scratch = context.home / "cache" / "shared"
    if_possible(context, "not shared through", lambda shared: shared.offer(job, key, content, scratch))


def _from_others(context: Context, cache: DatasetCache, folder: RunFolder, job: str, key: str) -> Path | None:
    """What another machine has made, as an entry of this one's own cache; None when there is none."""
    if not context.config.cache.url:
        return None
    from pipelines.reuse.shared import if_possible

    def fill(into: Path) -> None:
        if not if_possible(context, "not taken from", lambda shared: shared.fetch(job, key, into)):
            raise _NotShared

    try:
        return cache.add(key, folder.root, fill)
    except _NotShared:
        return None


class _NotShared(Exception):
    """Nobody has prepared it yet, or it cannot be taken from there."""


def key_of(context: Context, folder: RunFolder, job: str) -> str:
    """A digest of what decides the outputs of `job`, which has its `job.json`."""
    description = (folder.job(job) / "job.json").read_text(encoding="utf-8")
    inside = context.config.repositories.dataset_folder
    commit = f"{folder.run.sources.dataset}:{inside}" if inside else folder.run.sources.dataset
    return _digest(commit, *AS_COMMITTED, job, description, *tools(context))


def tools(context: Context, packages: Sequence[str] = MAKERS) -> list[str]:
    """With what workers work: the runner, the code of these of our packages, and the image, or Python and what is
    installed."""
    kind = context.config.runner.kind
    image = None if kind == "process" else context.runner.image(None, context.show)
    folders = [Path(__file__).parents[2] / each for each in packages]
    return [kind, code_digest(folders, context.home / "cache"), *([image] if image else _installed())]


def _lay_out(content: Path, made: Path) -> None:
    outputs = made / "outputs"
    outputs.mkdir(exist_ok=True)
    for each in (content / "outputs").iterdir():
        if each.is_dir():
            replace_with_symlink(outputs / each.name, each)
        else:
            (outputs / each.name).unlink(missing_ok=True)
            shutil.copyfile(each, outputs / each.name, follow_symlinks=False)
    shutil.copyfile(content / "result.json", made / ".result.json")
    (made / ".result.json").rename(made / "result.json")  # last: now the job is done


def _cache(context: Context, name: str) -> DatasetCache:
    return DatasetCache(context.config.own_folder.absolute() / "datasets" / name, _is_over)


def _is_over(root: Path) -> bool:
    try:
        return RunFolder(root).ended() is not None
    except PipelineError:  # its records are damaged: it cannot be resumed
        return True


def _installed() -> list[str]:
    """Python, and what is installed beside NumPy, with versions: one listing of that folder."""
    numpy = find_spec("numpy")
    assert numpy
    assert numpy.origin
    installed = os.listdir(Path(numpy.origin).parents[1])
    return [sys.version, *sorted(each for each in installed if each.endswith("-info"))]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
