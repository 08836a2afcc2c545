"""What a person has released although the gate had something against it: recorded, shown, and mailed once."""

from dataclasses import replace
from pathlib import Path

import pytest
from promotion_parts import MODEL, Project
from registry_parts import promote as promote_records
from versions import release_draft

from pipelines.commands import registry as registry_command
from pipelines.config.schema import Mail
from pipelines.promotion.compare import Compared
from pipelines.promotion.mail import compose, mail_although
from pipelines.promotion.promote import _draft
from pipelines.promotion.request import Request
from pipelines.trust import open_registry
from registry.heads import newest
from registry.records import Comparison

WORSE = "accuracy 0.9000 is worse than the live release's 0.9500, by more than 0.01"
GAP = Comparison(2, "accuracy", -0.05, -0.08, -0.02, 500)
RELEASE = replace(
    release_draft(MODEL, 3, "c" * 64, by="ada@company.example", approval=4),
    number=7,
    also_approved=(3,),
    compared=GAP,
    failed=(WORSE,),
    although="the old one <leaks>",
)


@pytest.fixture
def config(tmp_path):
    return Project(tmp_path).config


def sent(config):
    return list((Path(config.home) / "outbox" / "pending").glob("*.eml"))


def test_the_mail_says_what_the_gate_had_against_it_and_why_it_was_released(config):
    mail = compose(config, RELEASE)
    assert mail["Subject"] == f"[thirds] version 3 released although: {WORSE}"
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    for part in (WORSE, "ada@company.example gave this reason: the old one <leaks>", f"trainyard rollback thirds --config {config.file}",
                 "accuracy 0.05 worse (95 % interval: 0.08 worse to 0.02 worse) than version 2, 500 samples", "4, 3"):  # fmt: skip
        assert part in " ".join(text.split())
    assert "the old one &lt;leaks&gt;" in html


def test_it_is_mailed_once_per_release_however_often_the_command_is_repeated(config):
    for _ in range(2):
        assert "no mail server is set" in mail_although(config, open_registry(config), RELEASE)
    assert len(sent(config)) == 1
    mail_although(config, open_registry(config), replace(RELEASE, number=8))
    assert len(sent(config)) == 2


def test_the_mail_has_the_registrys_newest_head(tmp_path):
    project = Project(tmp_path)
    version = project.publish()
    promote_records(project.store, version, "token", MODEL)
    mail_although(project.config, project.store, RELEASE)
    (path,) = sent(project.config)
    assert newest(project.store, MODEL).line in path.read_text(encoding="utf-8")


def test_a_mail_that_cannot_be_written_does_not_undo_the_release(config):
    other = replace(config, mail=Mail(to=("not an address",)))
    assert mail_although(other, open_registry(other), RELEASE).startswith("no mail to not an address: [mail] to")


def test_the_release_records_the_reason_only_where_there_was_something_against_it():
    asked = Request(MODEL, 3, "token", "ada", "ada@laptop", although="it is urgent")
    worse = _draft(asked, "ada", "c" * 64, (4, 3), Compared(GAP, (WORSE,)))
    assert (worse.although, worse.failed, worse.compared) == ("it is urgent", (WORSE,), GAP)
    assert (worse.reason, worse.approvals) == ("promoted with approvals 4, 3", (4, 3))
    good = _draft(asked, "ada", "c" * 64, (4,), Compared(replace(GAP, difference=0.1)))
    assert (good.although, good.failed, good.reason) == ("", (), "promoted with approval 4")
    assert good.compared
    other = _draft(asked, "ada", "c" * 64, (4,), Compared(note="live version 2 was not measured: another split"))
    assert other.reason == "promoted with approval 4; not compared: live version 2 was not measured: another split"


def test_the_history_shows_it():
    row = {"although": "it leaks", "reason": "promoted", "failed": [WORSE]}
    assert registry_command._reason(row) == f"promoted, although {WORSE}: it leaks"
    assert registry_command._reason(row | {"although": ""}) == "promoted"
