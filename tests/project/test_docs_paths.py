"""Code that the documentation names exists: files, folders, and `path.py:name`."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from docs_pages import IDS, PAGES, ROOT, without_blocks

TOP = "registry|training|retraining|unit_tests|serving|pipelines|tests|benchmarks|examples|docker|jenkins|docs"
PATH = re.compile(rf"`((?:{TOP}|\.ci)/(?:[\w.-]+/?)*)(?::([A-Za-z_][\w.]*))?`")
NOT_PATHS = {"jenkins/jenkins"}
"""Names of container images that look like paths."""
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
QUESTIONS = {
    "reads a CSV": "training/data/table/read.py",
    "decides that a model is good enough": "pipelines/gate.py",
    "answers `POST /predict`": "serving/middleware.py",
    "writes a release": "registry/releases.py",
    "kills a worker that takes too long": "pipelines/runners/supervisor/supervisor.py",
    "composes the mail": "pipelines/mail/compose.py",
    "names a Jenkins build": "pipelines/build_status.py",
    "decides that a push changes nothing": "pipelines/reuse/up_to_date.py",
}
KINDS = (
    "a setting", "a step", "a dataset format", "a metric", "an engine", "a protocol", "a store", "a runner",
    "a deployment", "a command", "a page",
)  # fmt: skip


def named(page: Path) -> list[tuple[str, str]]:
    """Each path in backticks on `page`, with the name after the colon, if there is one."""
    return [(path, name) for path, name in PATH.findall(without_blocks(page)) if path not in NOT_PATHS]


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a Python file defines at its top, and in its classes as `Class.name`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        for name in _defined(node):
            found.add(name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for each in node.body for name in _defined(each)}
    return frozenset(found)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for each in targets if isinstance(each, ast.Name)]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_and_names_exist(page):
    for path, name in named(page):
        assert (ROOT / path).exists(), path
        if name:
            assert name in names_in(ROOT / path), f"{path}:{name}"


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a title of the architecture page."""
    section = ARCHITECTURE.read_text(encoding="utf-8").split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]


@pytest.mark.parametrize(("question", "file"), QUESTIONS.items(), ids=QUESTIONS)
def test_the_architecture_page_leads_to_the_code(question, file):
    answers = [cells[1] for cells in rows("Where is the code that …") if cells[0].startswith(question)]
    assert len(answers) == 1
    assert answers[0].startswith(f"`{file}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_architecture_page_says_where_a_new_part_goes_and_which_tests_show_how(kind):
    found = [cells for cells in rows("I want to add …") if cells[0].startswith(kind)]
    assert found
    for _, where, tests in found:
        assert PATH.search(where)
        assert "`tests/" in tests


def test_the_map_has_every_package():
    text = ARCHITECTURE.read_text(encoding="utf-8").split("\n## Where is", 1)[0]
    for package in ("registry", "training", "retraining", "unit_tests", "serving", "pipelines"):
        assert f"| `{package}/` |" in text
        for init in (ROOT / package).glob("*/**/__init__.py"):
            assert f"`{init.parent.relative_to(ROOT / package)}/`" in text, init


def test_the_map_names_modules_that_exist():
    package = ""
    for first, second, *_ in rows("The map"):
        package = first.strip("`") or package
        for module in re.findall(r"`(\w+\.py)`", second):
            assert (ROOT / package / module).is_file(), f"{package}{module}"


def test_the_glossary_is_sorted_and_has_each_term_once():
    page = ROOT / "docs" / "reference" / "glossary.md"
    terms = re.findall(r"^\| (?!term|---)([^|]+) \|", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(terms) > 40
    assert terms == sorted(set(terms), key=str.casefold)
