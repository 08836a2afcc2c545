"""What a commit names without having it: Git LFS pointers, submodules, links, files that a filter would have to make.

git writes something in their place without a word, and a model would be trained on that.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from fnmatch import translate
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from pipelines.repositories import git
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError

POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
POINTER = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\r?\noid sha256:([0-9a-f]{64})\r?\nsize (\d{1,15})\r?\n?"
)
ANNEX = b"/annex/objects/"
SMALLEST, USUAL, LARGEST = (
    16,
    200,
    1024,
)  # bytes of a file that may name another one; those of git-lfs have 130, or some extensions
AT_ONCE = 20_000
NOT_THERE = "BAD"
"""What `git ls-tree` gives as the size of an object that is missing or damaged; it ends with 0 all the same."""
SUBMODULE, LINK = "160000", "120000"
SHOWN = 3
DVC = (".dvc", "dvc.lock")
DVC_CONFIG = ".dvc/config"
LIMITS = "docs/reference/limits.md says what is not fetched"


@dataclass(frozen=True, slots=True)
class Extras:
    """What is fetched beside a commit's own files, and from where."""

    lfs: bool = False
    submodules: bool = False
    lfs_bytes: int = 1 << 30
    """What the files of one commit may come to, and what is kept of them."""
    trusted: tuple[str, ...] = ()
    """Hosts and folders, beside the repository's own."""
    unimportant: tuple[str, ...] = ()
    """Patterns of files that change no model: they may be missing."""
    data_store: str = ""
    """Where the files of a dataset are that do not lie in git; empty: where its repository says."""
    data_bytes: int = 1 << 30
    """What these files of one commit may come to, and what is kept of them."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Repository (code, dataset, tests) → the folder that is it; those that are missing are whole repositories."""

    @property
    def chosen(self) -> str:
        """What decides which files a commit of the dataset gives."""
        folder = self.folders.get("dataset")
        return repr((self.lfs, self.submodules, self.unimportant, *((folder,) if folder else ())))


@dataclass(frozen=True, slots=True)
class Pointer:
    """A file that is kept elsewhere: the hash of its bytes and their number, -1 when it is not known."""

    oid: str
    size: int
    algorithm: Literal["sha256", "md5", "md5-dos2unix"] = "sha256"


class Entry(NamedTuple):
    """A file of a commit, a link, or a submodule; the size in bytes."""

    mode: str
    sha: str
    size: int
    name: str


@dataclass(slots=True)
class Tree:
    """What of a commit's files is elsewhere, by name, and what is nowhere."""

    pointers: dict[str, Pointer] = field(default_factory=dict)
    submodules: dict[str, str] = field(default_factory=dict)
    """Folder → commit."""
    modules: dict[str, str] = field(default_factory=dict)
    """Folder → URL, as `.gitmodules` says."""
    lfs: dict[str, str] = field(default_factory=dict)
    """What `.lfsconfig` sets."""
    alike: list[tuple[str, str]] = field(default_factory=list)
    """Names that some disks take for one, as they differ in upper case or in their form of Unicode."""
    names: list[str] = field(default_factory=list)
    """All files, links and submodules."""
    dvc: list[str] = field(default_factory=list)
    """Files in which DVC names what it keeps."""
    dvc_config: bytes = b""
    """The settings of DVC that lie above the folder, where there are none in it."""
    lacks: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong, in words → names of files."""
    hints: dict[str, str] = field(default_factory=dict)

    def lack(self, name: str, what: str, hint: str) -> None:
        """Note that the file is not what its name promises."""
        self.lacks.setdefault(what, []).append(name)
        self.hints[what] = hint


def tree_of(commit: str, folder: str) -> str:
    """What git calls the files of a commit, or of a folder of it."""
    return f"{commit}:{folder}" if folder else commit


def look(repository: Path, commit: str, scratch: Path, folder: str = "") -> Tree:
    """What the files of a commit, or of a folder of it, name without having it; `scratch` is a folder for an index.

    Raises GitFailed, also when a file of the commit is missing in the repository.
    """
    entries = _entries(repository, ["-r", tree_of(commit, folder)])
    tree, small, unusual, attributes = Tree(), list[Entry](), list[Entry](), set[str]()
    above = {each.name: each.sha for each in _above(repository, commit, folder)}
    attributes |= {sha for name, sha in above.items() if name.endswith(".gitattributes")}
    if modules := above.get(".gitmodules"):
        inside = f"{folder}/"
        urls = _modules(_settings(repository, modules))
        tree.modules = {name.removeprefix(inside): url for name, url in urls.items() if name.startswith(inside)}
    if settings := above.get(".lfsconfig"):
        tree.lfs = _settings(repository, settings)
    for entry in entries:
        if entry.mode == SUBMODULE:
            tree.submodules[entry.name] = entry.sha
        elif entry.mode == LINK or SMALLEST <= entry.size <= LARGEST:
            (small if entry.mode == LINK or entry.size <= USUAL else unusual).append(entry)
        if entry.name.rpartition("/")[2] == ".gitattributes":
            attributes.add(entry.sha)
        elif entry.name == ".gitmodules":
            tree.modules = _modules(_settings(repository, entry.sha))
        elif entry.name == ".lfsconfig":
            tree.lfs = _settings(repository, entry.sha)
        elif entry.name.endswith(DVC) and entry.mode not in {SUBMODULE, LINK}:
            tree.dvc.append(entry.name)
    tree.names = [entry.name for entry in entries]
    if tree.dvc and DVC_CONFIG not in tree.names and (settings := above.get(DVC_CONFIG)):
        tree.dvc_config = dict(_contents(repository, [settings]))[settings]
    _check_names(tree, entries)
    rules = b"\n".join(content for _, content in _contents(repository, attributes))
    _read_small(tree, repository, small + unusual if b"lfs" in rules else small)
    if b"filter" in rules:
        git.run(["read-tree", commit], cwd=repository, extra=index_in(scratch))
        _filtered(tree, repository, scratch, tree.names, folder)
    return tree


def _entries(repository: Path, words: Sequence[str]) -> list[Entry]:
    listed = git.run_bytes(["ls-tree", "-l", "-z", "--full-tree", *words], cwd=repository)
    return [_entry(row) for row in listed.split(b"\0")[:-1]]


def _above(repository: Path, commit: str, folder: str) -> list[Entry]:
    """What lies above a folder and says something about its files."""
    if not folder:
        return []
    outer = [f"{parent}/.gitattributes" for parent in list(PurePosixPath(folder).parents)[:-1]]
    wanted = [".gitattributes", ".gitmodules", ".lfsconfig", DVC_CONFIG, *outer]
    return [each for each in _entries(repository, [commit, "--", *wanted]) if each.mode not in {SUBMODULE, LINK}]


def _entry(row: bytes) -> Entry:
    head, _, name = row.partition(b"\t")
    mode, _, sha, size = head.decode("ascii").split()
    if size == NOT_THERE:
        raise git.GitFailed(f"object {sha} is missing")
    return Entry(mode, sha, int(size) if size != "-" else 0, os.fsdecode(name))


def _check_names(tree: Tree, entries: Iterable[Entry]) -> None:
    seen: dict[str, str] = {}
    for name in (entry.name for entry in entries):
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            tree.alike.append((other, name))
        if not _is_utf8(os.fsencode(name)):
            tree.lack(name, "a name that is not UTF-8", "rename it")


def refuse_lacks(tree: Tree, extras: Extras, what: str, commit: str) -> None:
    """Raise ConfigError when a file that may matter is not there, with what can be done about each kind."""
    if not extras.lfs:
        for name in tree.pointers:
            tree.lack(name, "in Git LFS", "set [repositories] lfs = true, or keep the file in git itself")
    if not extras.submodules:
        for name in tree.submodules:
            hint = "set [repositories] submodules = true, or put the files themselves into the repository"
            tree.lack(name, "a submodule, another repository", hint)
    unimportant = any_of(extras.unimportant)
    found = {kind: [each for each in names if not unimportant(each)] for kind, names in tree.lacks.items()}
    words = [f"{_named(names)}: {kind}" for kind, names in found.items() if names]
    if words:
        hints = "; ".join(dict.fromkeys(tree.hints[kind] for kind, names in found.items() if names))
        raise ConfigError(
            f"[repositories] {what}: commit {commit[:12]} does not hold what its names promise: {'; '.join(words)}",
            hint=f"{hints}; or, where the model needs none of it, list it in [repositories] unimportant; {LIMITS}",
        )


def any_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path matches one of the patterns: those with a `/` as a whole, others by its name."""
    whole, name = (
        re.compile("|".join(translate(each) for each in patterns if ("/" in each) == slash) or "(?!)")
        for slash in (True, False)
    )
    return lambda path: bool(whole.match(path) or name.match(path.rpartition("/")[2]))


def index_in(folder: Path) -> dict[str, str]:
    """The environment in which git has its index in `folder`."""
    return {"GIT_INDEX_FILE": str(folder.absolute() / "index")}


def _settings(repository: Path, sha: str) -> dict[str, str]:
    """What a file of the commit sets, by lower-case names; nothing that it includes."""
    raw = git.run_bytes(["config", "--no-includes", "--blob", sha, "-z", "--list"], cwd=repository)
    rows = (row.decode("utf-8", "surrogateescape").partition("\n") for row in raw.split(b"\0")[:-1])
    return {name: value for name, _, value in rows}


def _modules(settings: Mapping[str, str]) -> dict[str, str]:
    """Folder → URL."""
    names = {name.removesuffix(".path"): path for name, path in settings.items() if name.endswith(".path")}
    return {path: settings.get(f"{name}.url", "") for name, path in names.items() if name.startswith("submodule.")}


def _read_small(tree: Tree, repository: Path, entries: Iterable[Entry]) -> None:
    same: dict[str, list[Entry]] = {}
    for entry in entries:
        same.setdefault(entry.sha, []).append(entry)
    for sha, content in _contents(repository, same):
        for entry in same[sha]:
            _read_content(tree, entry.name, content, is_link=entry.mode == LINK)


def _read_content(tree: Tree, name: str, content: bytes, *, is_link: bool) -> None:
    """What a small file, or the target of a link, names."""
    if (is_link or content.startswith(ANNEX)) and ANNEX in b"/" + content:
        tree.lack(name, "in git-annex, which is not supported", "keep the file in git itself, or in Git LFS")
    elif is_link:
        tree.lack(name, "a symbolic link, which is not followed", "put the file itself there")
    elif pointer := POINTER.fullmatch(content):
        tree.pointers[name] = Pointer(pointer[1].decode(), int(pointer[2]))
    elif content.startswith(POINTERS):
        tree.lack(name, "a Git LFS pointer that is damaged, or of a kind that is not supported", "add the file again")


def _contents(repository: Path, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Each of the files with its content, some thousands at a time."""
    ordered = list(shas)
    for start in range(0, len(ordered), AT_ONCE):
        given = "\n".join(ordered[start : start + AT_ONCE]).encode() + b"\n"
        out, at = git.run_bytes(["cat-file", "--batch"], cwd=repository, given=given), 0
        while at < len(out):
            end = out.index(b"\n", at)
            sha, kind, size = [*out[at:end].decode("ascii").split(), ""][:3]
            if kind == "missing":
                raise git.GitFailed(f"object {sha} is missing")
            yield sha, out[end + 1 : end + 1 + int(size)]
            at = end + int(size) + 2


def _filtered(tree: Tree, repository: Path, scratch: Path, names: Sequence[str], folder: str) -> None:
    """Files that are kept as a filter has made them. Notebooks are not read here, and what cleans them changes nothing."""
    inside = f"{folder}/" if folder else ""
    asked = b"\0".join(os.fsencode(f"{inside}{name}") for name in names) + b"\0"
    attributes = ["-c", f"core.attributesFile={os.devnull}", "check-attr", "--cached", "--stdin", "-z", "filter"]
    words = git.run_bytes(attributes, cwd=repository, extra=index_in(scratch), given=asked).split(b"\0")
    for raw, value in zip(words[0::3], words[2::3], strict=False):
        name, driver = os.fsdecode(raw).removeprefix(inside), value.decode("utf-8", "replace")
        if driver not in {"unspecified", "unset", "set", "lfs"} and not name.endswith(".ipynb"):
            if name in tree.submodules or name.rpartition("/")[2] == ".gitattributes":
                continue
            what = f"kept as the filter {clean(driver, 40)!r} of .gitattributes makes it, and filters do not run here"
            tree.lack(name, what, "keep the file as it is to be read, without a filter")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(clean(each, 100) for each in sorted(names)[:SHOWN]) + more


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
