"""Foreign words (commit subjects, test names, error messages) as they may stand in one of our lines."""

from __future__ import annotations

import unicodedata


def clean(text: str, limit: int = 500) -> str:
    """One line of at most `limit` characters without control, direction or broken characters."""
    one_line = " ".join(text.split())
    kept = "".join(each for each in one_line if unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    return kept if len(kept) <= limit else kept[: limit - 3].rstrip() + "..."
