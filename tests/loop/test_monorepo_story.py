"""The how-to about one repository for all: from a table with seasons to an accepted version, by the page's own commands."""

from __future__ import annotations

import json
import re

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT

PAGE = (ROOT / "docs" / "how-to" / "monorepo.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "seasons")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve penguins --stop")


@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_penguins_by_season_in_one_repository(newcomer):
    first, promote, beside = BLOCKS
    made = newcomer(first)
    assert "new in code" in made.stderr
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    newcomer(promote)
    newcomer(beside)
    version = newcomer.folder / ".trainyard" / "registry" / "production" / "penguins" / "1"
    if not version.exists():
        version = newcomer.folder / ".trainyard" / "registry" / "test" / "penguins" / "1"
    data = json.loads((version / "data.json").read_bytes())
    assert data["boundaries"] == ["2008", "2009"]
    assert (version / "learned.keys").is_file()
    card = json.loads((version / "card.json").read_bytes())
    assert len({card["sources"][each] for each in ("code", "dataset", "tests")}) == 1
    (clone,) = (newcomer.folder / ".trainyard" / "git").glob("*.git")
    assert clone.is_dir()
