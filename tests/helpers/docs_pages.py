"""The pages of the documentation, for the tests that read all of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [path for folder in ("docs", "examples", "docker", "jenkins") for path in (ROOT / folder).rglob("*.md")]
    + list(ROOT.glob("*.md"))
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def without_blocks(page: Path) -> str:
    """The text of `page` without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
