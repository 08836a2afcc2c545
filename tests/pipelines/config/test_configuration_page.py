"""docs/reference/configuration.md names every setting with its default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.config.check import settings
from pipelines.config.held import SECRETS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")


def settings_on_page():
    section = ""
    for line in PAGE.split("## Secrets")[0].splitlines():
        if heading := re.match(r"\| \*\*\[(\w+)\]\*\*", line):
            section = heading[1]
        elif line.startswith("| `"):
            yield from ((section, name) for name in re.findall(r"`(\w+)`", line.split("|")[1]))


def test_the_page_lists_exactly_the_settings():
    names = {f"{section}.{name}" if section else name for section, name in settings_on_page()}
    assert names == settings().keys()


def test_the_page_names_every_secret():
    for name in SECRETS:
        assert f"`TRAINYARD_{name}`" in PAGE
