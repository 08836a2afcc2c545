"""The how-to about rules of the gate: a push that fails some of them, and one that passes, by the page's own commands."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT, Team

PAGE = (ROOT / "docs" / "how-to" / "gate-rules.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [block for kind, block in FENCED if kind == "sh"]
SAID = [line for kind, block in FENCED if not kind for line in block.splitlines()]
OWN = 'own:hours_per_bird(better="less")'


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "rules")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve penguins --stop")


def newest_mail(folder):
    team = object.__new__(Team)  # the same way to read the mail
    team.home = folder / ".trainyard"
    return team.mails()[-1].get_body(("plain",)).get_content()


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_a_push_that_fails_a_rule_is_rejected_by_its_name_and_one_that_passes_is_released(newcomer):
    set_up, first, promote, fails, passes, release = BLOCKS
    newcomer(set_up)
    newcomer(first)
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    newcomer(promote)
    rejected = newcomer(fails)
    reports = sorted(
        (newcomer.folder / ".trainyard" / "runs").glob("*/report/*.html"), key=lambda each: each.stat().st_mtime
    )
    page, mail = reports[-1].read_text(encoding="utf-8"), newest_mail(newcomer.folder)
    for line in SAID:
        assert line in rejected.stderr
        assert line in " ".join(mail.split())
        assert line in page.replace("&#34;", '"').replace("&quot;", '"')
    assert "under the threshold" not in rejected.stderr
    newcomer(passes)
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    shown = newcomer(release).stdout
    assert '"class":"Gentoo"' in shown
    assert "hours_per_bird" in shown
    card = json.loads((newcomer.folder / ".trainyard/registry/production/penguins/2/card.json").read_bytes())
    found = card["evaluation"]
    assert found["candidate"]["values"][OWN] <= 0.1
    assert found["live"]["values"][OWN] <= 0.1
    assert {each["metric"] for each in found["comparisons"]} == {'precision(positive="Chinstrap")', OWN, "mcc"}
    assert {each["name"] for each in found["slices"]} >= {"island=Dream", "island=Biscoe"}
