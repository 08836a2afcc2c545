"""What DVC's files name: `.dvc` pointers, `dvc.lock`, the lists of directories, the remotes of `.dvc/config`.

Read as DVC 2 and 3 write them; DVC itself is not run. Rules without I/O.
"""

from __future__ import annotations

import configparser
import json
import posixpath
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

from pipelines.repositories.outside import paths, place
from pipelines.repositories.outside.place import Place
from pipelines.repositories.tree import Pointer
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError

SUFFIX, LOCK, CONFIG = ".dvc", "dvc.lock", ".dvc/config"
BEGINS = (b"outs:", b"md5:", b"deps:", b"wdir:", b"frozen:", b"meta:", b"desc:")
LARGEST, LARGEST_LIST = 16 << 20, 256 << 20  # bytes of a pointer file; of the list of a directory
MD5 = re.compile(r"([0-9a-f]{2})([0-9a-f]{30})(\.dir)?")
WDIR = re.compile(rb"^\s+wdir\s*:", re.MULTILINE)
IN_PLACE = "keep its data in git itself, or in a DVC output of its own (`dvc add`)"
UNREADABLE = {"version_aware": "cloud versioning", "worktree": "a worktree remote"}
OPTIONS = {"endpoint": "endpointurl", "region": "region", "profile": "profile"}


@dataclass(frozen=True, slots=True)
class Output:
    """A file or a directory that DVC keeps: its path in the repository, and what is known of it."""

    path: str
    md5: str
    """With `.dir` at its end for a directory."""
    size: int
    """Bytes, of all files of a directory; -1: not known."""
    legacy: bool
    """Named as DVC 2 does."""
    remote: str
    """The remote of its own, if it has one."""
    by: str
    """The file that names it."""

    @property
    def is_folder(self) -> bool:
        """Whether the object is a list of files."""
        return self.md5.endswith(".dir")

    @property
    def list_pointer(self) -> Pointer:
        """The object with a directory's list."""
        return Pointer(self.md5.removesuffix(".dir"), -1, "md5")

    def file_pointer(self, md5: str, size: int) -> Pointer:
        """The object of a file."""
        return Pointer(md5, size, "md5-dos2unix" if self.legacy else "md5")

    def key(self, md5: str) -> str:
        """The name of an object in a remote."""
        return f"{'' if self.legacy else 'files/md5/'}{md5[:2]}/{md5[2:]}"


def outputs(data: bytes, name: str, in_git: Container[str] = ()) -> list[Output]:
    """What a `.dvc` file or a `dvc.lock` names, but for the paths that are `in_git`; raises ConfigError for what cannot be
    fetched, with what to do."""
    raw = _yaml(data, name)
    if name.rpartition("/")[2] != LOCK:
        return list(_outputs(raw, name, in_git))
    stages = raw.get("stages") if "schema" in raw else raw
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise _wrong(name, "its stages cannot be read")
    rows = ({**each, "deps": None} for each in stages.values())
    return [found for each in rows for found in _outputs(each, name, in_git)]


def _outputs(raw: Mapping[str, Any], name: str, in_git: Container[str]) -> Iterator[Output]:
    rows = raw.get("outs") or []
    wdir = raw.get("wdir") or "."
    if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows) or not isinstance(wdir, str):
        raise _wrong(name, "its outs cannot be read")
    for row in rows:
        if row.get("cache") is False:
            continue  # in git, or nowhere
        md5, given, size = row.get("md5"), row.get("path"), row.get("size", -1)
        if not isinstance(given, str) or not given:
            raise _wrong(name, "an output has no path")
        path = _inside(posixpath.join(posixpath.dirname(name), wdir, given), given, name)
        if path in in_git:
            continue
        if raw.get("deps") or raw.get("frozen"):
            raise ConfigError(
                f"{name}: an import of DVC (`deps`, `frozen`), whose data come from elsewhere",
                hint="put its data under DVC themselves (`dvc add` of a copy, `dvc push`); or, where the model needs none of "
                "it, list it in [repositories] unimportant",
            )
        if not isinstance(md5, str) or not MD5.fullmatch(md5) or row.get("hash", "md5") != "md5" or "files" in row:
            raise ConfigError(
                f"{name}: {clean(given, 100)} is not named by an MD5, as `dvc add` does it",
                hint=f"add and push it again with DVC 3; or {IN_PLACE}",
            )
        if row.get("push") is False:
            raise ConfigError(
                f"{name}: {clean(given, 100)} is not pushed (`push: false`)", hint=f"let DVC push it, or {IN_PLACE}"
            )
        yield Output(
            path=path,
            md5=md5,
            size=size if type(size) is int and size >= 0 else -1,
            legacy="hash" not in row,
            remote=str(row.get("remote") or ""),
            by=name,
        )


def listed(data: bytes, output: Output) -> dict[str, str]:
    """Path in the repository → MD5, of the files of a directory; raises ConfigError."""
    try:
        rows = json.loads(data)
        found = {str(row["relpath"]): str(row["md5"]) for row in rows}
        well = len(found) == len(rows) and all(MD5.fullmatch(each) and "." not in each for each in found.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        well, found = False, {}
    if not well:
        raise _wrong(output.by, f"the list of {clean(output.path, 100)} in the remote is not a list of files")
    if problems := [f"{each!r:.100} {wrong}" for each in found if (wrong := paths.problem(each))]:
        raise _wrong(output.by, f"in {clean(output.path, 100)}: {'; '.join(problems[:3])}")
    return {f"{output.path}/{name}": md5 for name, md5 in found.items()}


@dataclass(frozen=True, slots=True)
class Remotes:
    """The remotes that `.dvc/config` names."""

    sections: Mapping[str, Mapping[str, str]]
    default: str
    where: str

    def place(self, name: str) -> Place:
        """Where a remote is ("": the default one); raises ConfigError for one from which nothing is fetched."""
        chosen = name or self.default or (next(iter(self.sections)) if len(self.sections) == 1 else "")
        if not chosen:
            raise ConfigError(
                f"{self.where}: names no default remote",
                hint="`dvc remote default NAME` and commit it, or name the place in [repositories] data_store",
            )
        options = self.sections.get(chosen)
        if options is None or not options.get("url"):
            raise ConfigError(
                f"{self.where}: does not say where the remote {clean(chosen, 60)!r} is",
                hint="commit its url (`dvc remote add`, without --local), or name the place in [repositories] data_store",
            )
        where = f"{self.where}: remote {clean(chosen, 60)!r}"
        for key, what in UNREADABLE.items():
            if options.get(key, "").lower() == "true":
                raise ConfigError(
                    f"{where} has {what} ({key})", hint="push to a remote without it, and name that as the default"
                )
        return place.parse(options["url"], {ours: options.get(theirs, "") for ours, theirs in OPTIONS.items()}, where)


def remotes(data: bytes, where: str = CONFIG) -> Remotes:
    """The remotes of a `.dvc/config`; raises ConfigError when it cannot be read."""
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, default_section="\0", inline_comment_prefixes=("#",)
    )
    try:
        parser.read_string("\n".join(each.strip() for each in data.decode("utf-8-sig").splitlines()))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _wrong(where, clean(str(error), 200)) from None
    found: dict[str, Mapping[str, str]] = {}
    for section in parser.sections():
        if match := re.fullmatch(r"""['"]?remote "(.+)"['"]?""", section):
            found[match[1]] = {key: value.strip("'\"") for key, value in parser.items(section)}
    core = parser["core"] if parser.has_section("core") else {}
    return Remotes(found, core.get("remote", "").strip("'\""), where)


def has_wdir(data: bytes) -> bool:
    """Whether a `dvc.yaml` has stages that work in another folder: the paths of `dvc.lock` begin there."""
    return bool(WDIR.search(data))


def is_pointer(data: bytes) -> bool:
    """Whether a file with DVC's suffix is one of DVC's."""
    return data.lstrip().startswith(BEGINS)


def _inside(path: str, given: str, name: str) -> str:
    found = posixpath.normpath(path)
    if given.startswith("/") or found == "." or paths.problem(found):
        raise _wrong(name, f"the output {clean(given, 100)!r} {paths.problem(found) or 'is not below the repository'}")
    return found


def _yaml(data: bytes, name: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if len(data) > LARGEST:
            raise ValueError(f"larger than {LARGEST >> 20} MB")
        found = YAML(typ="safe", pure=True).load(data.decode("utf-8-sig"))
    except (YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise _wrong(name, f"not YAML: {clean(str(error), 200)}") from None
    if not isinstance(found, dict):
        raise _wrong(name, "not a file of DVC")
    return found


def _wrong(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"{name}: {what}", hint=f"have DVC write it again, and commit; or list {name} in [repositories] unimportant"
    )
