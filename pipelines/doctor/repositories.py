"""What the settings of [repositories] come to for the commits that were fetched last, and the hooks; one function per check.

Nothing is fetched; an LFS server, and a dataset's store, is asked for one file.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.config.schema import Config, Repositories
from pipelines.context import clones
from pipelines.doctor.finding import Finding
from pipelines.repositories import git, hook_call
from pipelines.repositories.complete import DATASET, address_of
from pipelines.repositories.lfs import Lfs
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.outside import manifest
from pipelines.repositories.outside.fetch import OutsideGit
from pipelines.repositories.outside.source import key_of, open_objects
from pipelines.repositories.tree import Tree, any_of, refuse_lacks
from pipelines.text.clean import clean

NAMES = hook_call.ROLES
BY_DEFAULT = Repositories("", "", "").unimportant
CALL = " -m pipelines hook "


def files(config: Config, name: str) -> Finding:
    """All files of the commit that was fetched last are in git, or where the settings say: raises what `fetch` would."""
    url, extras = str(getattr(config.repositories, name)), clones(config).extras
    known = _known(config, name)
    if known is None:
        return Finding("ok", "nothing was fetched yet: the first run checks them")
    commit, found = known
    refuse_lacks(found, extras, name, commit)
    unimportant, said = any_of(extras.unimportant), []
    pointers = {each: pointer for each, pointer in found.pointers.items() if not unimportant(each)}
    if pointers:
        lfs = Lfs(ObjectStore(Path(config.home) / "lfs"), extras, name, url)
        said.append(f"{len(pointers)} in LFS, from {lfs.find(next(iter(pointers.values())), found.lfs)}")
    submodules = [each for each in found.submodules if not unimportant(each)]
    for each in submodules:
        address_of(found, url, each, f"{name}{git.SUBMODULE}{clean(each, 100)}", extras)
    if submodules:
        said.append(f"submodules: {', '.join(clean(each, 100) for each in submodules)}")
    if name == DATASET and (outside := _outside_git(config, commit, found)):
        said.append(outside)
    what = f"{len(found.names)} at {commit[:10]}; {'; '.join(said) or 'all are in git'}"
    if found.names and all(map(unimportant, found.names)):
        hint = "a pattern without `/` is compared with names, one with `/` with whole paths"
        return Finding("warn", f"{what}; [repositories] unimportant lists every one: no push makes a version", hint)
    return Finding("ok", what)


def _outside_git(config: Config, commit: str, found: Tree) -> str:
    """What of the dataset does not lie in git, and from where it is fetched; raises ConfigError when it cannot be."""
    if manifest.NAME not in found.names and not found.dvc:
        return ""
    git_cache = clones(config)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        git_cache.checkout(config.repositories.dataset, commit, tree, DATASET).write()
        outside = OutsideGit(
            ObjectStore(Path(config.home) / "data"), git_cache.extras, DATASET, config.repositories.dataset
        )
        places = outside.places(found, tree)
    for place in places:
        open_objects(place, f"[repositories] {DATASET}").present([key_of("0" * 64)])  # whether it answers
    return f"others are fetched from {', '.join(map(str, places))}" if places else ""


def unimportant(config: Config) -> Finding:
    """Each pattern of one's own matches a file."""
    own = [each for each in config.repositories.unimportant if each not in BY_DEFAULT]
    if not own:
        return Finding("ok", "no pattern of your own")
    known = [_known(config, name) for name in NAMES]
    names = [each for found in known if found for each in found[1].names]
    if unused := [each for each in own if not any(map(any_of([each]), names))]:
        if None in known:
            return Finding("ok", "not every repository was fetched yet: the patterns are checked after that")
        what = f"no file of the three repositories matches {', '.join(unused)}"
        return Finding("warn", what, "a pattern without `/` is compared with names, one with `/` with whole paths")
    return Finding("ok", f"each pattern matches a file: {', '.join(own)}")


def trusted(config: Config) -> Finding:
    """The folders that files may be fetched from exist."""
    listed = config.repositories.trusted
    if gone := [each for each in listed if os.path.isabs(each) and not os.path.isdir(each)]:
        return Finding("warn", f"not a folder: {', '.join(gone)}", "correct [repositories] trusted, or remove it there")
    return Finding("ok", ", ".join(listed) or "nothing but the repositories' own hosts and folders")


def hooks(config: Config) -> Finding:
    """Each hook that runs a pipeline runs this one, with a program and a config that exist."""
    roles: dict[Path, list[str]] = {}
    for name in NAMES:
        for hook in _hooks(str(getattr(config.repositories, name))):
            roles.setdefault(hook, []).append(name)
    found = {hook: _called(hook) for hook in roles}
    calls = {hook: words for hook, words in found.items() if words}
    wrong = {hook: why for hook, words in calls.items() if (why := _wrong(words, roles[hook], config))}
    if wrong:
        what = "; ".join(f"{hook} {why}" for hook, why in wrong.items())
        names = [name for name in NAMES if any(name in roles[hook] for hook in wrong)]
        return Finding("warn", what, f"to have a push start this pipeline: trainyard hooks install {' '.join(names)}")
    if not calls:
        return Finding("ok", "no hook on this machine runs the pipeline: `watch`, Jenkins or a person starts it")
    return Finding("ok", f"a push to {', '.join(name for hook in calls for name in roles[hook])} starts the pipeline")


def _known(config: Config, name: str) -> tuple[str, Tree] | None:
    url, branch = str(getattr(config.repositories, name)), config.repositories.branch_of(name)
    with tempfile.TemporaryDirectory() as scratch:
        return clones(config).look_at_known(url, branch, Path(scratch), name)


def _hooks(url: str) -> Iterator[Path]:
    """The post-receive hook of a repository on this machine."""
    folder = Path(url.removeprefix("file://"))
    for candidate in (folder, folder / ".git"):
        if folder.is_absolute() and (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            yield git.hooks_folder(candidate) / "post-receive"


def _called(hook: Path) -> list[str]:
    """The words of the command by which a hook runs a pipeline; none when it does something else."""
    text = hook.read_text(encoding="utf-8", errors="replace") if hook.is_file() else ""
    line = next((each for each in text.splitlines() if CALL in each and each.startswith("exec ")), "")
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # not as Trainyard writes it
        return []
    return words if "--config" in words[:-1] else []


def _wrong(words: list[str], names: list[str], config: Config) -> str:
    """What such a command does that it should not."""
    python, at = words[0], words.index("--config")
    roles, file = words[words.index("hook") + 1 : at], words[at + 1]
    for needed in (python, file):
        if not os.path.exists(needed):
            return f"names {needed}, which does not exist: a push starts no run"
    if file != hook_call.file_of(config):
        return f"runs the pipeline of {file}"
    if python != sys.executable:
        return f"runs the Trainyard of {python}, and this is that of {sys.executable}"
    missing = [name for name in names if hook_call.named(config, name) not in roles]
    return f"does not run it for {', '.join(missing)}, which is the same repository" if missing else ""
