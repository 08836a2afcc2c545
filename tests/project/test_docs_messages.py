"""The messages that the troubleshooting page quotes are messages of the code; `…` in a quotation is what varies."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from docs_pages import ROOT

PAGE = ROOT / "docs" / "how-to" / "troubleshooting.md"
PACKAGES = ("registry", "training", "retraining", "unit_tests", "serving", "pipelines")
NOT_OURS = {"No space left on device", "Disk quota exceeded", "permission denied"}
NAMES = {"FILE": "model.py", "NAME": "dataset.toml", "KERAS_FILE": "model.keras"}
"""Constants in messages whose value a quotation has."""


def quotations() -> list[str]:
    """What is in backticks in the first column of tables with symptoms, unless it is a path, a setting or a command."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    lines = [
        line
        for section in sections
        if "| symptom |" in section
        for line in section.split("| symptom |", 1)[1].splitlines()
        if line.startswith("| ")
    ]
    quoted = [each for line in lines for each in re.findall(r"`([^`]+)`", line.strip("| ").split(" | ")[0])]
    return [each for each in quoted if " " in each and not re.match(r"(GET|POST|trainyard) ", each)]


@cache
def texts() -> tuple[str, ...]:
    """Every string of the packages; what is put into an f-string is `…`, or the value of a known constant."""
    found = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(_part(each, file.stem) for each in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return tuple({" ".join(each.split()) for each in found})


def _part(node: ast.expr, module: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    name = node.value.id if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name) else ""
    return "trainyard.toml" if (module, name) == ("load", "NAME") else NAMES.get(name, "…")


@pytest.mark.parametrize("quoted", quotations())
def test_a_quoted_message_is_one_of_the_code(quoted):
    if quoted in NOT_OURS:
        return
    parts = [part for part in (each.strip(" :") for each in quoted.split("…")) if part]
    assert any(all(part in line for part in parts) for line in texts()), quoted


def test_the_page_quotes_messages():
    assert len(quotations()) > 40
