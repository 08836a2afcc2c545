"""The page on which a person decides, by a browser without script: what it shows, what it accepts, and what it refuses."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from console_parts import ConsoleProject
from promotion_parts import MODEL
from versions import decision_draft

from pipelines.config.schema import ApprovalPolicy
from pipelines.console.decisions import deciding, promoting
from pipelines.console.decisions.promoting import Outcome, Promotion
from pipelines.workers.examples_file import Answer, Example, Examples
from registry import candidates, codec, decisions, releases
from registry.records import utc_now

HIDDEN = re.compile(r'name="(over|seen|card)" value="([^"]*)"')
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}\u202e"


@pytest.fixture
def project(tmp_path):
    return ConsoleProject(tmp_path)


@pytest.fixture
def begun(monkeypatch):
    """The promotions that were begun: (version, over). Nothing is promoted."""
    found = []
    monkeypatch.setattr(Promotion, "start", lambda _self, _config, version, over: not found.append((version, over)))
    return found


def address(version):
    return f"/models/{MODEL}/decision/{version}"


def form(browser, version):
    """The hidden fields of the page as it is now."""
    return dict(HIDDEN.findall(browser.get(address(version)).text))


def decide(browser, version, choice, reason="", fields=None):
    data = {**(fields or form(browser, version)), "choice": choice, "reason": reason}
    return browser.post(address(version), data, page=address(version))


def decided(project, version):
    card = candidates.manifest_digest(project.store, MODEL, version)
    return [(each.kind, each.by, each.how, each.reason) for each in decisions.about(project.store, MODEL, card)]


def test_the_tab_leads_to_the_version_that_waits(project):
    browser = project.browser("viewer")
    assert "Nothing waits for a decision" in browser.get(f"/models/{MODEL}/decision").text
    project.publish()
    assert browser.get(f"/models/{MODEL}/decision").location == address(1)
    project.publish()
    assert f'href="{address(2)}"' in browser.get(f"/models/{MODEL}/decision").text


def test_everybody_with_a_role_reads_it_and_owners_get_the_form(project):
    project.publish()
    for role in ("viewer", "labeller", "engineer"):
        text = project.browser(role).get(address(1)).text
        assert "Waits for a decision" in text
        assert "Owners and admins of this model decide" in text
        assert 'value="approve"' not in text
    for role in ("owner", "admin"):
        assert 'value="approve"' in project.browser(role).get(address(1)).text


def test_who_may_not_decide_cannot_by_a_form_of_their_own(project, begun):
    project.publish()
    fields = form(project.browser("owner"), 1)
    for role in ("viewer", "labeller", "engineer"):
        browser = project.browser(role)
        answer = browser.post(address(1), {**fields, "choice": "approve"})
        assert answer.status_code == 403
    assert decided(project, 1) == begun == []


def test_an_approval_is_recorded_with_who_has_signed_in_and_how_and_begins_the_promotion(project, begun):
    project.publish()
    answer = decide(project.browser("owner"), 1, "approve", "fine")
    assert (answer.status_code, answer.location) == (303, address(1))
    assert decided(project, 1) == [("approved", "a-owner", "password", "fine")]
    (given,) = releases.approvals(project.store, MODEL)
    assert (given.by, given.seen, given.way) == ("a-owner", "the console, a-owner, by password", "token")
    assert begun == [(1, 0)]


@pytest.mark.parametrize(("choice", "kind"), [("reject", "rejected"), ("changes", "changes asked")])
def test_a_no_needs_a_reason_and_is_final(project, begun, choice, kind):
    project.publish()
    browser = project.browser("owner")
    answer = decide(browser, 1, choice)
    assert answer.status_code == 422
    assert "Say why" in answer.text
    assert decide(browser, 1, choice, "too weak on zeros").status_code == 303
    assert decided(project, 1) == [(kind, "a-owner", "password", "too weak on zeros")]
    page = browser.get(address(1)).text
    assert "too weak on zeros" in page
    assert "That is final" in page
    assert "<textarea" not in page
    fields = {"over": "0", "seen": "1", "card": candidates.manifest_digest(project.store, MODEL, 1)}
    for again in ("approve", "reject", "continue"):
        data = {**fields, "choice": again, "reason": "x"}
        assert browser.post(address(1), data).status_code == 409
    assert begun == []


def test_getting_the_page_decides_nothing(project, begun):
    project.publish()
    browser = project.browser("owner")
    assert browser.get(f"{address(1)}?choice=approve&over=0&seen=0").status_code == 200
    assert decided(project, 1) == begun == []


def test_a_page_that_is_older_than_what_is_live_decides_nothing(project, begun):
    project.publish()
    project.publish(parent=None)
    browser = project.browser("owner")
    fields = form(browser, 2)
    project.release_by_hand(1)
    answer = decide(browser, 2, "approve", "I like it", fields)
    assert answer.status_code == 409
    assert "Meanwhile version 1 is live now: release 1" in answer.text
    assert "I like it" in answer.text
    assert decided(project, 2) == begun == []
    assert decide(browser, 2, "approve").status_code == 303
    assert begun == [(2, 1)]


def test_of_two_owners_at_once_one_decides_and_the_other_sees_who(project, begun):
    project.publish()
    app = project.app()
    owner, admin = project.browser("owner", app), project.browser("admin", app)
    fields = form(owner, 1)
    tokens = {each: each.token(address(1)) for each in (owner, admin)}

    def one(browser, choice):
        data = {**fields, "choice": choice, "reason": "my reason", "csrf": tokens[browser]}
        return browser.client.post(address(1), data=data)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(one, (owner, admin), ("approve", "reject")))
    ((kind, by, _, _),) = decided(project, 1)
    assert sorted(each.status_code for each in answers) == [303, 409]
    lost = next(each for each in answers if each.status_code == 409)
    assert by in lost.text
    assert begun == ([(1, 0)] if kind == "approved" else [])
    assert len(releases.approvals(project.store, MODEL)) == (kind == "approved")


def test_two_people_approve_where_two_must_and_nobody_twice(project, begun):
    project.config = replace(project.config, approval=ApprovalPolicy(needed=2))
    project.publish()
    app = project.app()
    owner, admin = project.browser("owner", app), project.browser("admin", app)
    assert decide(owner, 1, "approve").status_code == 303
    assert begun == []
    page = owner.get(address(1)).text
    assert "Waits for another approval" in page
    assert "You have approved it already" in page
    assert decide(owner, 1, "approve").status_code == 409
    assert decide(admin, 1, "approve").status_code == 303
    assert begun == [(1, 0)]
    assert len(releases.approvals(project.store, MODEL)) == 2


def test_an_author_does_not_approve_where_the_policy_says_so(project, begun):
    project.config = replace(project.config, approval=ApprovalPolicy(author_may_approve=False))
    project.publish(authors=("A. Owner <a-owner@company.example>",))
    browser = project.browser("owner")
    page = browser.get(address(1)).text
    assert "is an author of this version" in page
    assert 'value="approve"' not in page
    assert decide(browser, 1, "approve").status_code == 409
    assert begun == []


def test_who_was_stopped_between_decision_and_approval_is_continued_by_another(project, begun):
    project.publish()
    card = candidates.manifest_digest(project.store, MODEL, 1)
    draft = decision_draft(MODEL, 1, card, "approved", "a-owner", at=utc_now(), token="once")
    decisions.append_decision(project.store, draft, 0)
    browser = project.browser("admin")
    page = browser.get(address(1)).text
    assert "It was approved, and making it live was stopped before its end" in page
    assert decide(browser, 1, "continue").status_code == 303
    assert begun == [(1, 0)]
    (given,) = releases.approvals(project.store, MODEL)
    assert (given.token, given.seen) == ("once", "the console, a-owner, by password")


def test_who_is_killed_before_the_promotion_begins_has_decided(project, begun, monkeypatch):
    project.publish()
    browser = project.browser("owner")
    fields = form(browser, 1)
    with monkeypatch.context() as injected:
        injected.setattr(deciding.releases, "append_approval", lambda *_: (_ for _ in ()).throw(OSError(5, "gone")))
        assert decide(browser, 1, "approve", fields=fields).status_code in {500, 503}
    assert begun == []
    assert decide(browser, 1, "reject", "no", fields).status_code == 409
    assert "Continue making it live" in browser.get(address(1)).text
    assert decide(browser, 1, "continue").status_code == 303
    assert begun == [(1, 0)]


def test_what_cannot_be_approved_can_be_rejected(project, begun):
    project.publish(tests=())
    project.publish(tests=(("test_zero failed",),))
    browser = project.browser("owner")
    for version, said in ((1, "no acceptance test yet"), (2, "failed its newest acceptance test")):
        page = browser.get(address(version)).text
        assert said in page
        assert 'value="approve"' not in page
        assert decide(browser, version, "approve").status_code == 409
        assert decide(browser, version, "reject", "not this").status_code == 303
    assert begun == []


def test_every_decision_is_in_the_audit_log(project, begun):
    project.publish()
    browser = project.browser("admin")
    decide(browser, 1, "reject", "too weak")
    assert "version 1: rejected (too weak)" in browser.get("/audit").text


@pytest.mark.parametrize(
    "change", [{"over": "x"}, {"over": ""}, {"seen": "-1"}, {"choice": "delete"}, {"choice": ""}, {"over": "9" * 12}]
)
def test_a_form_that_is_not_ours_decides_nothing(project, begun, change):
    project.publish()
    browser = project.browser("owner")
    assert browser.post(address(1), {**form(browser, 1), "choice": "approve"} | change).status_code == 400
    assert decided(project, 1) == begun == []


@pytest.mark.parametrize("version", ["0", "7", "999999999", "9999999999", "-1", "x", "1e3"])
def test_a_version_that_is_not_there_is_not_there(project, version):
    project.publish()
    assert project.browser("owner").get(f"/models/{MODEL}/decision/{version}").status_code == 404


def test_answers_are_shown_side_by_side_but_not_to_labellers(project, tmp_path):
    one = Example(
        "zeros/1.png", "left", Answer("left", True, 0.9), Answer("right", False, 0.6), (("age", "41"),), "iVBORw0KGgo="
    )
    found = Examples(90, 1, (), (one,), differ=12, fixed=9, broken=2)
    path = tmp_path / "examples.json"
    path.write_bytes(codec.to_json(found))
    project.publish()
    project.publish(extra={"examples.json": path})
    page = project.browser("viewer").get(address(2)).text
    assert "zeros/1.png" in page
    assert "data:image/png;base64,iVBORw0KGgo=" in page
    assert "Of 90 answers 12 change: 9 become right, 2 become wrong, the other 1 neither." in page
    assert "zeros/1.png" not in project.browser("labeller").get(address(2)).text


def test_hostile_words_in_every_field_are_only_words(project, begun, tmp_path):
    bad = Answer(HOSTILE, False, 0.5)
    one = Example(HOSTILE, HOSTILE, bad, bad, ((HOSTILE, HOSTILE),), HOSTILE)
    path = tmp_path / "examples.json"
    path.write_bytes(codec.to_json(Examples(9, 1, (one,), (one,), 1, 1, 0)))
    project.publish(authors=(HOSTILE,), tests=((HOSTILE,),), extra={"examples.json": path}, reason=HOSTILE)
    browser = project.browser("owner")
    answers = [browser.get(address(1)), decide(browser, 1, "reject"), decide(browser, 1, "reject", HOSTILE)]
    answers.append(browser.get(address(1)))
    for answer in answers:
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "49" not in re.sub(r"[0-9a-f-]{8,}|T.*?Z", "", answer.text) or "{{ 7*7 }}" in answer.text
        assert "style=" not in answer.text
    assert str(project.folder) not in answers[-1].text


def test_the_page_of_a_promotion_that_runs_asks_again_and_one_that_failed_says_so(project, monkeypatch, tmp_path):
    project.publish()
    browser = project.browser("owner")
    monkeypatch.setattr(Promotion, "start", lambda *_: True)
    decide(browser, 1, "approve")
    folder = Promotion(project.installation().home, MODEL, 1).folder
    folder.mkdir(parents=True)
    (folder / "log").write_text(f"promote: {tmp_path}/home/serving: disk full\n")
    monkeypatch.setattr(promoting, "is_locked", lambda _: True)
    answer = browser.get(address(1))
    assert "Being made live" in answer.text
    assert answer.headers["Refresh"] == f"4; url={address(1)}"
    assert "<textarea" not in answer.text
    monkeypatch.undo()
    codec.save(Outcome(75, utc_now()), folder / "outcome.json")
    answer = browser.get(address(1))
    assert "may work when it is tried again" in answer.text
    assert "…/serving: disk full" in answer.text
    assert str(tmp_path) not in answer.text
    assert "Refresh" not in answer.headers
    assert decide(browser, 1, "reject", "leave it").status_code == 303
