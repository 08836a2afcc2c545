"""Every route, as every role and signed out: nothing breaks, nothing is decided by GET, no form is taken from elsewhere."""

from __future__ import annotations

import re

import pytest
from console_parts import ROLES, ConsoleProject

from pipelines.console.app import PAGES

EXPECTED = {200, 302, 303, 400, 403, 404, 405}
HOSTILE = (
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "../../etc/passwd",
    "%00",
    "\u202e" * 20,
    "9" * 40,
)
OPEN = {"static", "sign_in.form", "sign_in.by_password", "sign_in.to_provider", "sign_in.from_provider", "sign_in.out",
        "mail_link.show", "mail_link.use"}  # fmt: skip
"""What is reached without a role: signing in and out, and the stylesheet."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = ConsoleProject(tmp_path_factory.mktemp("walk"))
    project.publish()
    project.release_by_hand(1)
    return project


@pytest.fixture(scope="module")
def app(project):
    return project.app()


@pytest.fixture(scope="module")
def browsers(project, app):
    """By role; "" has not signed in."""
    return {role: project.browser(role, app) for role in ("", *ROLES.values())}


def filled(rule, text=""):
    """An address of this rule: of our model, or with a hostile text in each place."""
    path = rule.rule
    for name in rule.arguments:
        value = text or {"model": "thirds", "version": "1"}.get(name, "1")
        if re.search(rf"<int:{name}>", path) and not value.isdigit():
            value = "1"
        path = re.sub(rf"<(\w+:)?{name}>", lambda _, value=value: value, path)
    return path


def rules(app, method):
    return [each for each in app.url_map.iter_rules() if method in each.methods]


def state(project):
    """All that the registry holds."""
    return project.tree()


@pytest.mark.parametrize("role", ["", *ROLES.values()])
def test_no_page_breaks_and_none_decides_when_it_is_looked_at(project, app, browsers, role):
    before = state(project)
    for rule in rules(app, "GET"):
        for text in ("", *HOSTILE[:2]):
            answer = browsers[role].get(filled(rule, text))
            assert answer.status_code in EXPECTED, f"{rule}: {answer.status_code}"
            assert str(project.folder) not in answer.text, rule
            answer.close()
    assert state(project) == before


@pytest.mark.parametrize("role", ["", *ROLES.values()])
def test_no_form_is_taken_without_its_token(project, app, browsers, role):
    before = state(project)
    for rule in rules(app, "POST"):
        for data in ({}, {"csrf": "x"}, {"csrf": "WyJhIl0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb", "reason": "x"}):
            assert browsers[role].client.post(filled(rule), data=data).status_code in {403, 404}, rule
    assert state(project) == before


def test_every_route_asks_for_a_role(app):
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in OPEN:
            assert hasattr(app.view_functions[rule.endpoint], "needs"), f"{rule.endpoint} has no @needs"


def test_who_has_not_signed_in_gets_to_the_sign_in_and_no_further(app, browsers):
    for rule in rules(app, "GET"):
        if rule.endpoint not in OPEN:
            answer = browsers[""].get(filled(rule))
            assert answer.status_code == 303, rule
            assert answer.location.startswith("/sign-in?next="), rule


@pytest.mark.parametrize("text", HOSTILE)
def test_what_somebody_sends_is_shown_as_text(browsers, text):
    for path in ("/audit", "/sign-in", "/settings"):
        for role in ("", "admin"):
            answer = browsers[role].get(
                path, query_string=dict.fromkeys(("model", "action", "text", "next", "since"), text)
            )
            assert answer.status_code in EXPECTED
            assert "<script>alert" not in answer.text
            assert "<img src=x" not in answer.text


def test_a_name_in_the_log_is_shown_as_text(project, app, browsers):
    stranger = project.browser("", app)
    stranger.post("/sign-in", {"name": HOSTILE[0], "password": "wrong password"}, page="/sign-in")
    page = browsers["admin"].get("/audit").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_every_page_is_one_of_the_table(app):
    assert {each.module for each in PAGES} == set(app.blueprints)
