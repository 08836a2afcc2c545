"""The how-to about many models: from an empty folder to two APIs, by the page's own commands, as `make demo MODELS=2` plays them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from team import TRAINYARD, clean_environment

from pipelines.__main__ import main
from pipelines.commands import demo_models


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the APIs with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_two_models_of_one_repository(tmp_path):
    command = [*TRAINYARD, "demo", "--models", "2", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    begins = [each.start() for each in re.finditer(r'\{"model"', done.stdout)]
    answers = [json.JSONDecoder().raw_decode(done.stdout, begin)[0] for begin in begins]
    found = {each["model"]: each["predictions"][0]["class"] for each in answers}
    assert found == {"species": "Gentoo", "sex": "male"}
    runs = (tmp_path / "demo" / "zoo" / ".trainyard" / "models").glob("*/runs/*/run.json")
    assert sorted(each.parts[-4] for each in runs) == ["sex", "species"]  # the last push touched no folder of theirs
    assert "0 failed" in done.stdout
    assert "species: stopped" in done.stdout
    assert "sex: stopped" in done.stdout


def test_a_demo_of_two_needs_what_the_page_has(tmp_path, capsys):
    assert main(["demo", "--models", "2", "--store", "s3", "--folder", str(tmp_path / "demo")]) == 2
    assert "omit --runner and --store" in capsys.readouterr().err


def test_a_block_that_fails_ends_the_demo(tmp_path, monkeypatch, capfd):
    page = tmp_path / "page.md"
    page.write_text(
        "One.\n\n```sh\nexport A=1; cd /\n```\n\nTwo.\n\n```sh\ntest $A = 1 && pwd\nfalse\n```\n\nx\n\n```sh\necho no\n```\n"
    )
    monkeypatch.setattr(demo_models, "PAGE", page)
    monkeypatch.setattr(demo_models, "CHECKOUT", tmp_path)
    assert main(["demo", "--models", "2", "--folder", str(tmp_path / "demo")]) == 2
    said = capfd.readouterr()
    assert "━━━ 2. Two." in said.out
    assert "\n/\n" in said.out
    assert "echo no" not in said.out
    assert "these commands ended with 1" in said.err
