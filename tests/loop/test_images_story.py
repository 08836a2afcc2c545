"""The how-to about images: from photos of mixed sizes to an accepted version and answers, by its own commands."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT

PAGE = (ROOT / "docs" / "how-to" / "images.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [block for kind, block in FENCED if kind == "sh"]
SAID = [line for kind, block in FENCED if not kind for line in block.splitlines()]


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "photos")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve digits --stop")


def answers(text):
    """The API's answers, one after the other."""
    found, decoder = [], json.JSONDecoder()
    while (begin := text.find('{"model"')) >= 0:
        answer, end = decoder.raw_decode(text, begin)
        found.append(answer)
        text = text[end:]
    return found


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_photos_of_mixed_sizes(newcomer):
    photograph, first, declare, ask = BLOCKS
    newcomer(photograph)
    files = [path.suffix for path in (newcomer.folder / "work" / "dataset" / "pictures").glob("*/*")]
    assert (set(files), files.count(".webp")) == ({".jpg", ".webp"}, 1)
    refused = newcomer(first)
    for line in SAID:
        assert line in refused.stderr
    accepted = newcomer(declare)
    assert "accepted" in accepted.stdout + accepted.stderr
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    asked = newcomer(ask)
    predictions = [each["predictions"] for each in answers(asked.stdout)]
    assert len(predictions) == 3
    assert predictions[0] == predictions[1] == predictions[2]
    assert predictions[0][0]["class"] == "4"
    card = next((newcomer.folder / ".trainyard").rglob("card.json")).read_text(encoding="utf-8")
    assert '"resize": [' in card
    assert '"exif": "turn"' in card
