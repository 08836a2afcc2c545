"""The how-to about tables: from the file of a European spreadsheet to an accepted version and an answer, by its own commands."""

from __future__ import annotations

import re
import shutil

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT

PAGE = (ROOT / "docs" / "how-to" / "tables.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [block for kind, block in FENCED if kind == "sh"]
SAID = [line for kind, block in FENCED if not kind for line in block.splitlines()]


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "birds")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve penguins --stop")


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
def test_a_table_from_a_european_spreadsheet(newcomer):
    save, first, declare, ask = BLOCKS
    newcomer(save)
    refused = newcomer(first)
    accepted = newcomer(declare)
    seen = [line.strip() for line in (refused.stderr + accepted.stderr).splitlines()]
    for line in SAID:
        assert any(line in each for each in seen), "\n".join((line, "is not in", *seen))
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    asked = newcomer(ask)
    assert '"class":"Gentoo"' in asked.stdout
