"""Which paths a manifest or a pointer of strangers may name: inside the repository, in words that every disk can keep apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from pipelines.text.clean import clean
from registry.errors import ConfigError

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .,=+-]{,99}(/[A-Za-z0-9_][A-Za-z0-9_ .,=+-]{,99}){,19}")
"""Most paths: they are in order without a closer look."""
LONGEST_PART, DEEPEST = 255, 40  # bytes, folders
SHOWN = 3


def problem(path: str) -> str:
    """What is wrong with a path, in words; empty for one that lies inside the repository and that every disk can keep."""
    if PLAIN.fullmatch(path):
        return ""
    if not path.isprintable() or "\\" in path or not _is_text(path):
        return "holds characters that cannot be in a path here (control characters, a backslash, not UTF-8)"
    parts = path.split("/")
    if path.startswith("/"):
        return "is absolute"
    if ".." in parts:
        return "leads out of its folder (..)"
    if "" in parts or "." in parts:
        return "is not written as `folder/file`"
    if ".git" in {each.casefold() for each in parts}:
        return "lies in git's own folder"
    if len(parts) > DEEPEST:
        return f"is nested deeper than {DEEPEST} folders"
    if any(len(each.encode()) > LONGEST_PART for each in parts):
        return f"has a name of more than {LONGEST_PART} bytes"
    return ""


def refuse(paths: Iterable[str], where: str, beside: Iterable[str] = ()) -> None:
    """Raise ConfigError when one of the paths cannot be written, or two of them (or one and one of the files `beside`)
    are the same file on some disk, or a file and a folder; `where` begins the message."""
    problems: list[str] = []
    folded: dict[str, str] = {}
    folders: dict[str, str] = {}
    ours = list(paths)
    for path in (*ours, *beside):
        key = _folded(path)
        if key in folded:
            problems.append(
                f"{clean(path, 100)} is in git as well"
                if folded[key] == path
                else f"{clean(folded[key], 100)} and {clean(path, 100)} are one file on a disk that ignores upper case"
            )
        folded.setdefault(key, path)
        while (slash := key.rfind("/")) > 0 and (key := key[:slash]) not in folders:
            folders[key] = path
    problems += [
        f"{clean(folded[each], 100)} is a file, and the folder of {clean(folders[each], 100)}"
        for each in folders.keys() & folded.keys()
    ]
    problems += [f"{clean(each, 100)!r} {wrong}" for each in ours if (wrong := problem(each))]
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ConfigError(
            f"{where}: {'; '.join(sorted(problems)[:SHOWN])}{more}",
            hint="rename the file, or remove one of the two, where the list was made, and commit that",
        )


def _folded(path: str) -> str:
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
