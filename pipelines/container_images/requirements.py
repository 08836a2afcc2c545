"""A team's requirements.txt, read with care: it decides what is downloaded, nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from registry.errors import ConfigError

LARGEST = 256 * 1024  # bytes; a list of packages is far smaller
HASH = re.compile(r"\s--hash[ =]sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?=\s|$)")
ARCHIVES = (
    ".whl",
    ".zip",
    ".tar",
    ".gz",
    ".tgz",
    ".bz2",
    ".tbz",
    ".xz",
    ".txz",
    ".tlz",
    ".lz",
    ".lzma",
)  # paths for pip
COMMENT = re.compile(r"(?:^|\s+)#.*$")
HINT = (
    "name packages, with versions if you like: `einops==0.8.1`; the index is set where Trainyard runs (PIP_INDEX_URL)"
)


def read_requirements(path: Path) -> str:
    """The packages that the file names, one per line, in plain form; empty when it names none.

    Names, extras, versions, environment markers and `--hash` are allowed. Options (`--index-url`, `-r`, `-e`),
    addresses and paths are refused: raises ConfigError that names every such line.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    lines: list[str] = []
    errors: list[str] = []
    for number, line in _logical_lines(_text(path)):
        hashes = [each.strip().replace(" ", "=", 1) for each in HASH.findall(line)]
        try:
            wanted = Requirement(HASH.sub("", line))
        except InvalidRequirement:
            errors.append(f"line {number}: {line[:80]!r} does not name a package")
            continue
        if wanted.name.lower().endswith(ARCHIVES):
            errors.append(f"line {number}: {wanted.name} is a file")
        if wanted.url:
            errors.append(f"line {number}: {wanted.name} comes from an address")
        lines.append(" ".join([str(wanted), *hashes]))
    if errors:
        raise ConfigError(f"{path.name}: {'; '.join(errors)}", hint=HINT)
    return "".join(f"{line}\n" for line in lines)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ConfigError(f"{path.name} is larger than {LARGEST // 1024} KiB", hint=HINT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path.name} is not UTF-8: {error.reason} at byte {error.start}", hint="save it as UTF-8"
        ) from None


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers, without comments and with those joined that end in a backslash; as pip does it."""
    joined: list[tuple[int, str]] = []
    start, held = 0, ""
    for number, raw in enumerate(text.splitlines(), 1):
        start = start if held else number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            held += raw[:-1] + " "
            continue
        joined.append((start, held + raw))
        held = ""
    if held:
        joined.append((start, held))
    stripped = ((number, COMMENT.sub("", line).strip()) for number, line in joined)
    return [(number, line) for number, line in stripped if line]
