"""docs/reference/configuration.md names every setting with its default, and no other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from pipelines.config.load import NOT_SETTINGS, SECRETS
from pipelines.config.schema import Config

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")


def settings_in_code():
    for field in dataclasses.fields(Config):
        if field.name in NOT_SETTINGS:
            continue
        if field.default_factory is not dataclasses.MISSING:
            yield from ((field.name, each.name) for each in dataclasses.fields(field.default_factory()))
        elif field.name != "repositories":
            yield ("", field.name)


def settings_on_page():
    section = ""
    for line in PAGE.split("## Secrets")[0].splitlines():
        if heading := re.match(r"\| \*\*\[(\w+)\]\*\*", line):
            section = heading[1]
        elif line.startswith("| `"):
            yield from ((section, name) for name in re.findall(r"`(\w+)`", line.split("|")[1]))


def test_the_page_lists_exactly_the_settings():
    repositories = {("repositories", name) for name in ("code", "dataset", "tests", "branch", "unimportant")}
    assert set(settings_on_page()) == set(settings_in_code()) | repositories


def test_the_page_names_every_secret():
    for name in SECRETS:
        assert f"`TRAINYARD_{name}`" in PAGE
