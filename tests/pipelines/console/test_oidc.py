"""Signing in at a real OpenID provider: `oidc-provider-mock`, in a thread."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from console_parts import ConsoleProject

from pipelines.console.sign_in.oidc import person_of
from registry.errors import Rejected

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses parts of Authlib that are old
    oidc_provider_mock = pytest.importorskip("oidc_provider_mock")


@pytest.fixture
def provider():
    people = [
        oidc_provider_mock.User(sub="1", claims={"email": "owner@company.example", "email_verified": True}),
        oidc_provider_mock.User(sub="2", claims={"email": "owner@company.example"}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with oidc_provider_mock.run_server_in_thread(user_claims=people) as server:
            yield f"http://localhost:{server.server_port}"


@pytest.fixture
def project(tmp_path, provider, monkeypatch):
    monkeypatch.setenv("TRAINYARD_CONSOLE_OIDC_SECRET", "a secret of the client")
    return ConsoleProject(
        tmp_path,
        roles={"owner@company.example": "owner"},
        sign_in="oidc",
        oidc_issuer=provider,
        oidc_client_id="trainyard",
    )


def come_back(browser, sub, start="/sign-in/oidc?next=/settings"):
    """Walk to the provider, sign in there as `sub`, and come back; gives the console's answer."""
    there = browser.get(start)
    assert there.status_code == 302
    asked = parse_qs(urlsplit(there.location).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["nonce"]
    assert asked["state"]
    answer = requests.post(there.location, data={"sub": sub}, allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    return browser.get(f"{back.path}?{back.query}")


def test_a_sign_in_at_the_provider_and_out_again(project, provider):
    browser = project.browser()
    assert "/sign-in/oidc" in browser.get("/sign-in").text
    answer = come_back(browser, "1")
    assert (answer.status_code, answer.location) == (303, "/settings")
    page = browser.get("/settings")
    assert "owner@company.example" in page.text
    gone = browser.post("/sign-out")
    assert gone.status_code == 200
    assert gone.headers["Refresh"].startswith(f"0; url={provider}/oauth2/end_session?id_token_hint=")
    assert browser.get("/settings").status_code == 303


def test_an_address_that_nobody_has_verified_is_nobody(project):
    assert come_back(project.browser(), "2").status_code == 403


def test_an_answer_for_another_browser_does_not_sign_this_one_in(project):
    one, other = project.browser(), project.browser()
    there = one.get("/sign-in/oidc")
    answer = requests.post(there.location, data={"sub": "1"}, allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    assert other.get(f"{back.path}?{back.query}").status_code == 403
    assert other.get("/settings").status_code == 303


def test_a_provider_that_is_away_is_said_so(tmp_path):
    project = ConsoleProject(tmp_path, sign_in="oidc", oidc_issuer="http://localhost:9", oidc_client_id="trainyard")
    assert project.browser().get("/sign-in/oidc").status_code == 503


def test_a_password_is_not_a_way_round(project):
    browser = project.browser()
    with pytest.raises(AssertionError, match="has no form"):
        browser.as_("a-owner")


@pytest.mark.parametrize(
    ("claims", "claim", "name"),
    [
        ({"email": "a@b.example", "email_verified": True}, "email", "a@b.example"),
        ({"email": "a@b.example", "email_verified": "true"}, "email", ""),
        ({"email": "a@b.example"}, "email", ""),
        ({"sub": "77", "email": "a@b.example"}, "sub", "77"),
        ({}, "sub", ""),
        ({"sub": "a\nb"}, "sub", ""),
    ],
)
def test_who_somebody_is_by_the_claims(claims, claim, name):
    if not name:
        with pytest.raises(Rejected):
            person_of(claims, claim)
    else:
        assert person_of(claims, claim).name == name


def test_authlib_is_imported_only_for_this():
    code = "import sys; import pipelines.console.app, pipelines.console.pages.sign_in; print(sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"'(authlib|joserfc|cryptography)", found)
