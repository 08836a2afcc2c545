"""Who somebody is and what that opens: roles, proxies' headers, local users, sessions, and how often one may try."""

from __future__ import annotations

import io
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from console_parts import CHEAP, PASSWORD, ConsoleProject
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.commands import console as command
from pipelines.console.installation import Installation
from pipelines.console.person import Person
from pipelines.console.rates import Failures
from pipelines.console.roles import ACTIONS, ROLES, may, role_in
from pipelines.console.services import users_of
from pipelines.console.sessions import Sessions
from pipelines.console.sign_in.local_users import LocalUsers
from registry.errors import ConfigError

ADA = Person("ada", "ada@company.example", "password")
TABLES = st.dictionaries(st.sampled_from(["ada", "ADA@company.example", "bo", "*"]), st.sampled_from(ROLES))


@given(TABLES)
def test_a_person_has_the_strongest_role_that_names_them_else_everybodys(table):
    named = [role for name, role in table.items() if name.casefold() in {"ada", "ada@company.example"}]
    assert role_in(table, ADA) == max(named, key=ROLES.index, default=table.get("*"))


@given(TABLES)
def test_nobody_is_called_everybody(table):
    assert role_in({name: role for name, role in table.items() if name != "*"}, Person("*", "*", "proxy")) is None


@given(st.sampled_from(sorted(ACTIONS)), st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(ROLES)))
def test_without_a_role_for_a_model_nothing_is_allowed_there(action, roles):
    assert not may(roles, action, "c")
    assert may(roles, action) == any(may(roles, action, each) for each in roles)


def test_only_owners_and_admins_decide_and_everybody_with_a_role_sees():
    for action in ("decide", "roll back", "demote"):
        assert {each for each in ROLES if may({"m": each}, action, "m")} == {"owner", "admin"}
    assert all(may({"m": each}, "see", "m") for each in ROLES)


@pytest.fixture
def proxied(tmp_path):
    return ConsoleProject(
        tmp_path,
        roles={"ada": "admin", "ada@company.example": "viewer"},
        sign_in="proxy",
        trusted_proxies=("10.0.0.7",),
    )


def asked(browser, address, path="/settings", **headers):
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return browser.get(path, headers=names, environ_base={"REMOTE_ADDR": address})


def test_a_trusted_proxy_says_who_asks(proxied):
    answer = asked(proxied.browser(), "10.0.0.7", X_Forwarded_User="ada", X_Forwarded_For="192.0.2.1")
    assert answer.status_code == 200
    assert "ada" in answer.text
    assert "Sign out" not in answer.text


def test_the_header_of_anybody_else_is_removed_and_logged(proxied, caplog):
    answer = asked(proxied.browser(), "10.0.0.8", X_Forwarded_User="ada")
    assert answer.status_code == 303
    assert "removed X-Forwarded-User from requests of 10.0.0.8" in caplog.text


def test_a_trusted_proxy_says_nothing_where_people_sign_in_themselves(tmp_path):
    project = ConsoleProject(tmp_path, roles={"ada": "admin"}, trusted_proxies=("10.0.0.7",))
    assert asked(project.browser(), "10.0.0.7", X_Forwarded_User="ada").status_code == 303


def test_a_form_of_one_person_is_not_anothers_behind_a_proxy(proxied):
    browser = proxied.browser()
    page = asked(browser, "10.0.0.7", "/nothing", X_Forwarded_User="ada")
    assert page.status_code == 404
    refused = browser.client.post(
        "/sign-out", headers={"X-Forwarded-User": "ada"}, environ_base={"REMOTE_ADDR": "10.0.0.7"}
    )
    assert refused.status_code == 403


def test_the_address_in_the_log_is_the_clients(tmp_path):
    project = ConsoleProject(tmp_path, trusted_proxies=("127.0.0.1",))
    browser = project.browser()
    browser.post(
        "/sign-in", {"name": "x", "password": "y"}, page="/sign-in", headers={"X-Forwarded-For": "6.6.6.6, 192.0.2.9"}
    )
    (entry,) = browser.app.extensions["trainyard"].audit.entries()
    assert (entry.action, entry.address) == ("sign in failed", "192.0.2.9")


@pytest.fixture
def users(tmp_path):
    return LocalUsers(tmp_path / "console" / "users.json", CHEAP)


def test_a_user_has_the_password_that_was_given_and_no_other(users):
    users.add("ada", "", PASSWORD)
    assert users.check("ada", PASSWORD).name == "ada"
    for name, password in (("ada", PASSWORD + "x"), ("ada", ""), ("Ada", PASSWORD), ("", ""), ("bo", PASSWORD)):
        assert users.check(name, password) is None
    users.change_password("ada", "another password")
    assert users.check("ada", PASSWORD) is None
    users.remove("ada")
    assert users.check("ada", "another password") is None


@pytest.mark.parametrize(
    ("name", "email", "password"),
    [("", "", PASSWORD), ("a b", "", PASSWORD), ("-x", "", PASSWORD), ("ada", "", "short"), ("ada", "no address", PASSWORD),
     ("ADA", "", PASSWORD), ("ada", "", "x" * 201)],
)  # fmt: skip
def test_what_cannot_be_a_user_is_refused(users, name, email, password):
    users.add("ada", "", PASSWORD)
    with pytest.raises(ConfigError):
        users.add(name, email, password)
    assert [each.name for each in users.all()] == ["ada"]


def test_a_file_of_users_that_others_can_read_is_refused(users, tmp_path):
    users.add("ada", "", PASSWORD)
    file = tmp_path / "console" / "users.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others"):
        users.check("ada", PASSWORD)


def test_a_session_ends_idle_and_in_any_case(tmp_path):
    now = [1000.0]
    sessions = Sessions(tmp_path / "s", idle=60, longest=300, clock=lambda: now[0])
    value = sessions.begin(ADA)
    for _ in range(6):
        now[0] += 45
        assert sessions.find(value).person == ADA
    now[0] += 45
    assert sessions.find(value) is None
    other = sessions.begin(ADA)
    now[0] += 61
    assert sessions.find(other) is None
    sessions.close()


@settings(max_examples=20)
@given(st.text(max_size=120))
def test_a_value_that_was_not_given_out_opens_nothing(text):
    with tempfile.TemporaryDirectory() as folder:
        sessions = Sessions(Path(folder) / "s", 60, 60)
        sessions.begin(ADA)
        assert sessions.find(text) is None
        sessions.close()


def test_failures_count_for_a_while_and_successes_do_not():
    now = [0.0]
    failures = Failures(2, 10, clock=lambda: now[0])
    failures.add("a")
    failures.add("a")
    assert failures.wait("a") == 10
    assert failures.wait("b") == 0
    now[0] = 10.5
    assert failures.wait("a") == 0
    failures.add("a")
    failures.add("a")
    failures.take_back("a")
    assert failures.wait("a") == 0


def run(project, monkeypatch, *words, stdin="", email=""):
    what, action, name = (*words, "", "", "")[:3]
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    args = SimpleNamespace(what=what, action=action or None, name=name, email=email, json=False)
    return command.main(args, project.config)


def test_the_command_adds_a_user_with_a_password_from_stdin(tmp_path, monkeypatch, capsys):
    project = ConsoleProject(tmp_path)
    assert run(project, monkeypatch, "users", "add", "bo", stdin=f"{PASSWORD}\n") == 0
    assert "bo sees nothing yet" in capsys.readouterr().err
    assert users_of(project.installation()).check("bo", PASSWORD)
    run(project, monkeypatch, "users", "list")
    assert capsys.readouterr().out.startswith("bo  no address  since ")
    with pytest.raises(ConfigError, match="which user"):
        run(project, monkeypatch, "users", "remove")


def test_who_is_removed_or_gets_another_password_is_signed_out(tmp_path, monkeypatch):
    project = ConsoleProject(tmp_path)
    browser = project.browser("admin")
    assert browser.get("/audit").status_code == 200
    run(project, monkeypatch, "users", "passwd", "a-admin", stdin="quite another one\n")
    assert browser.get("/audit").status_code == 303
    assert any(each.action == "users passwd" for each in browser.app.extensions["trainyard"].audit.entries())


def test_models_that_share_a_console_agree_on_it(tmp_path):
    one, other = ConsoleProject(tmp_path / "a"), ConsoleProject(tmp_path / "b", model="other", roles={"ada": "owner"})
    shared = replace(other.config, home=one.config.home)
    assert Installation([one.config, shared]).roles_of(ADA) == {"other": "owner"}
    with pytest.raises(ConfigError, match="differ between the models"):
        Installation([one.config, replace(shared, console=replace(shared.console, port=1))])
