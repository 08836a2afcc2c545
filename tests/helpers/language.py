"""The words of this project: `docs/reference/glossary.md` has the terms; here are those that it does not use, and what to say.

`python tests/helpers/language.py [PATH …]` lists what it finds in files and folders, by default everywhere.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("registry", "training", "retraining", "unit_tests", "serving", "pipelines")
EVERYWHERE = (*PACKAGES, "tests", "benchmarks", "examples", "docker", "jenkins", "docs", "README.md", "Jenkinsfile", "Makefile", ".ci",
              "CONTRIBUTING.md", "SECURITY.md")  # fmt: skip
QUOTING = {"tests/helpers/language.py", "tests/project/test_language.py", "tests/registry/test_release_kinds.py"}
"""Files that quote such words: the lists themselves, and records of earlier versions of Trainyard."""
BANNED = {
    r"works? off|worked off": "process, processed",
    r"go(es)? on where|goes on|go on\b|going on": "resumes, continues",
    r"from nothing": "from scratch",
    r"the answer is no|said no|says no|says yes|said yes|is a no\b|reasons? for no|reasons? to say no|why not\b": "rejected, accepted; failed criterion",
    r"tells?\b|told\b|telling": "shown, reported, logged, refused, passed, named",
    r"survives?": "fault tolerance; is kept",
    r"the house|a house|front door|one door|the door|doors?\b|rooms\b": "architecture, package, entry point, socket hand-off",
    r"shelf|shelves": "cache, dataset cache",
    r"boxes|tally|tallies|the board": "API containers, worker counters, counter table",
    r"guards?\b|guarded": "supervisor, supervised worker",
    r"spoiled|spoilt": "malformed",
    r"guilty": "first failing",
    r"mind:": "note:",
    r"seals?\b|sealed": "checksum",
    r"another Trainyard": "another version of Trainyard",
    r"was mended|were mended": "changed, repaired",
    r"someone else|somebody else": "a concurrent writer, another process",
    r"stands?\b(?!-)|stood\b": "exists, appears, is, works",
    r"look, then|look again|looks? at (the|what)|(one|two|next|each) looks?\b|look once": "check, poll",
    r"not at its end|at their ends?\b": "still running",
    r"no mail of ours|of ours\b": "written by Trainyard",
    r"rotten|stumble[sd]?|rest in peace": "corrupted; failed, retrying; reaped",
    r"(?<!there )(?<!where )(is|are|was|were) no (?!longer|more)\w+": "is not a, has no, there is no",
    r"(?<!there )(is|are|was|were) none\b": "is not one, there is none",
    r"clones? of production": "staging instance",
    r"trials?\b": "acceptance test",
    r"go(es|ing)? live|went live|gone live": "is deployed, released, promoted",
    r"judges?\b|judged|judging": "gate, decides, measures",
    r"troubles?\b|faults?\b(?! (injection|tolerance|tolerant))": "error, problem; fault injection",
    r"hang(s)? up|hung up": "closes the connection",
    r"makes? room|made room|(is|are) full of": "frees space, deletes",
    r"on our side|on its side\b": "overhead",
    r"let go|lets go": "releases, closes",
    r"alike": "too, equally",
}  # fmt: skip
BANNED_IN_NAMES = frozenset(
    [
        "told",
        "tell",
        "tells",
        "stands",
        "stood",
        "shelf",
        "shelves",
        "door",
        "doors",
        "guard",
        "guarded",
        "guards",
        "spoiled",
        "seal",
        "seals",
        "sealed",
        "house",
        "rooms",
        "judge",
        "judges",
        "judged",
        "fault",
        "faults",
        "trouble",
        "picture",
        "pictures",
        "golive",
        "trial",
        "trials",
        "rotten",
        "tally",
        "tallies",
        "guilty",
        "mended",
    ]
)
"""Words that are in no name of a function, class, variable or parameter, in the packages and the tests."""
KEPT_NAMES = {"faults": "the field of Validation that files of older versions have"}
ONLY_IN_CODE = {r"pictures?\b": "image"}
"""Terms that are banned in the packages only: a page may show a picture."""
LINKS = re.compile(r"\]\([^)]*\)|`[^`\n]*`|https?://\S+")


def hits(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, banned words, what to say instead, and the text, for each place in the file at `path`."""
    code = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES
    words = BANNED | (ONLY_IN_CODE if code else {})
    some = _of("|".join(words))  # one search per line, where there is nothing
    for number, text in _texts(path, some):
        for pattern, instead in words.items() if some.search(text) else ():
            for found in _of(pattern).finditer(text):
                yield number, found[0], instead, text.strip()


@functools.cache
def _of(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/.-])(?:{pattern})", re.IGNORECASE)


def _texts(path: Path, some: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Line and text of what people read; comments only where `some` occurs in a line with one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        fenced = False
        for number, line in enumerate(text.splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            yield number, line if path.suffix != ".md" or fenced else LINKS.sub(" ", line)
        return
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, LINKS.sub(" ", line)
    if not any("#" in line and some.search(line) for line in text.splitlines()):
        return
    for token in tokenize.generate_tokens(StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], LINKS.sub(" ", token.string)


def names(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, banned word and name, for each name that the Python file at `path` gives."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Store):
            continue
        name = next(
            (each for field in ("name", "id", "attr", "arg") if isinstance(each := getattr(node, field, None), str)), ""
        )
        if isinstance(node, ast.alias | ast.keyword) or name in KEPT_NAMES:
            continue
        for word in _banned_in(name):
            yield node.lineno, word, name


@functools.cache
def _banned_in(name: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name) if word.lower() in BANNED_IN_NAMES)


def files(paths: list[str]) -> list[Path]:
    """The tracked text files under `paths`."""
    done = subprocess.run(["git", "ls-files", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    kinds = {".py", ".md", ".groovy", ".toml", ".sh", ".yaml", ""}
    found = [ROOT / name for name in done.stdout.splitlines()]
    return [
        each for each in found if each.suffix in kinds and each.is_file() and str(each.relative_to(ROOT)) not in QUOTING
    ]


if __name__ == "__main__":
    count = 0
    for file in files(sys.argv[1:] or list(EVERYWHERE)):
        for number, found, instead, text in hits(file):
            count += 1
            print(f"{file.relative_to(ROOT)}:{number}: {found!r} → {instead}: {text:.110}")  # noqa: T201
        for number, found, name in names(file) if file.suffix == ".py" else ():
            count += 1
            print(f"{file.relative_to(ROOT)}:{number}: {found!r} in {name}")  # noqa: T201
    print(f"{count} places")  # noqa: T201
