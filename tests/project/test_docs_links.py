"""Links between the pages lead to a page and a title that exist, and the index lists every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_pages import IDS, PAGES, ROOT, without_blocks

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(without_blocks(page)) if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("folder", ["docs", "docs/adr"])
def test_the_index_lists_every_page(folder):
    index = ROOT / folder / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    below = index.parent.rglob("*.md") if folder == "docs" else index.parent.glob("*.md")
    pages = {path for path in below if path != index and (folder == "docs/adr" or "adr" not in path.parts)}
    assert pages <= listed
