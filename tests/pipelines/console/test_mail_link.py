"""The link of a mail: with `mail_link = "decide"` it signs one person in, once, for one decision."""

from __future__ import annotations

import time

import pytest
from console_parts import ConsoleProject

from pipelines.approvals.mail_links import make_link, read_link
from pipelines.approvals.tokens import approval_secret
from registry import candidates
from registry.errors import Rejected

SECRET = "s" * 40
OWNER = "owner@company.example"


@pytest.fixture
def project(tmp_path):
    project = ConsoleProject(tmp_path, roles={OWNER: "owner", "grace@company.example": "engineer"}, mail_link="decide")
    project.publish()
    return project


def link(project, to=OWNER, version=1, at=None, card=""):
    card = card or candidates.manifest_digest(project.store, project.model, version)
    return make_link(approval_secret(project.home), project.model, version, card, to, at=at)


def test_opening_the_link_does_not_use_it_up_and_its_button_does(project):
    path = link(project)
    reader = project.browser()
    for _ in range(3):  # a scanner of mails, and the person
        assert OWNER in reader.get(path).text
    answer = reader.post(path, page=path)
    assert (answer.status_code, answer.location) == (303, "/models/thirds/decision/1")
    other = project.browser(app=reader.app)
    assert other.get(path).status_code == 403
    assert other.client.post(path, data={"csrf": other.token("/sign-in")}).status_code == 403


def test_who_came_by_it_sees_nothing_else(project):
    path = link(project)
    reader = project.browser()
    reader.post(path, page=path)
    assert reader.get("/").status_code == 404
    assert reader.get("/settings").status_code == 404


def test_a_link_for_another_manifest_signs_nobody_in(project):
    path = link(project, card="f" * 64)
    reader = project.browser()
    assert reader.post(path, page=path).status_code == 403
    assert reader.get("/").status_code == 303


def test_a_role_that_may_not_decide_is_not_enough(project):
    path = link(project, to="grace@company.example")
    assert project.browser().post(path, page=path).status_code == 403


def test_by_default_the_link_leads_to_the_sign_in(tmp_path):
    project = ConsoleProject(tmp_path)
    project.publish()
    path = link(project)
    reader = project.browser()
    assert reader.get(path).location == "/models/thirds/decision/1"
    assert reader.client.post(path, data={"csrf": reader.token("/sign-in")}).status_code == 404


def test_a_link_says_what_it_was_made_for_until_it_expires():
    path = make_link(SECRET, "digits", 3, "c" * 64, OWNER)
    found = read_link(SECRET, path.removeprefix("/link/"), 72)
    assert (found.model, found.version, found.card, found.to) == ("digits", 3, "c" * 64, OWNER)
    old = make_link(SECRET, "digits", 3, "c" * 64, OWNER, at=time.time() - 73 * 3600).removeprefix("/link/")
    with pytest.raises(Rejected, match="has expired"):
        read_link(SECRET, old, 72)


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "x" * 3000, "../../etc/passwd"])
def test_what_is_not_a_link_is_refused(text):
    with pytest.raises(Rejected):
        read_link(SECRET, text, 72)


def test_a_link_with_another_secret_or_of_another_purpose_is_refused():
    path = make_link(SECRET, "digits", 3, "c" * 64, OWNER).removeprefix("/link/")
    with pytest.raises(Rejected, match="was altered"):
        read_link("t" * 40, path, 72)
