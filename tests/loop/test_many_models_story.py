"""The how-to about many models: from an empty folder to two APIs, by the page's own commands."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT, free_port

PAGE = (ROOT / "docs" / "how-to" / "many-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the APIs are stopped at the end."""
    run = newcomer_in(tmp_path, "zoo", ports={"8500": free_port(), "8501": free_port()})
    yield run
    if (run.folder / "models").exists():
        run("trainyard serve species --stop; trainyard serve sex --stop")


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the APIs with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_two_models_of_one_repository(newcomer):
    prepare, shared, own, promote, beside = BLOCKS
    newcomer(prepare)
    newcomer(shared)
    made = newcomer(own)
    assert "models           species, sex" in made.stdout or "sex, species" in made.stdout
    assert "species: new in code" in made.stderr
    home = newcomer.folder / ".trainyard"
    for name in ("species", "sex"):
        newcomer(f"export {name.upper()}_TOKEN={token_in(home / 'models', name)}")
    asked = newcomer(promote)
    species, sex = [json.loads(line) for line in asked.stdout.splitlines() if line.startswith('{"model"')]
    assert (species["model"], species["predictions"][0]["class"]) == ("species", "Gentoo")
    assert (sex["model"], sex["predictions"][0]["class"]) == ("sex", "male")
    listed = newcomer(beside)
    assert len(list((home / "models").glob("*/runs/*"))) == 2
    assert "species:" in listed.stdout
    assert "sex:" in listed.stdout
