"""Foreign text (commit subjects, test names, error messages) as it may appear in one of our lines."""

from __future__ import annotations

from registry.text import printable


def clean(text: str, limit: int = 500) -> str:
    """One printable line of at most `limit` characters, its words one space apart."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."
