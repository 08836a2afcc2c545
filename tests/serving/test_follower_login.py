"""What logs in to a bucket, on its way into the container of who follows it."""

import json
from pathlib import Path

import pytest

from registry.errors import ConfigError
from serving.follower_login import ENVIRONMENT, FILES, FOLDER, login_files, read_login


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def brought(folder, files):
    """The variables that a process has to which `files` were given in `folder`."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return read_login({FOLDER: str(folder)})


def test_variables_arrive_and_nothing_else_does(tmp_path):
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    files = login_files(given | {"HOME": "/root", "MAIL_PASSWORD": "c"}, given, str(tmp_path / "login"))
    assert brought(tmp_path / "login", files) == given


def test_files_that_variables_name_and_those_of_the_home_arrive_under_their_names_there(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]")
    (tmp_path / "ca.pem").write_text("a certificate")
    given = {"AWS_CA_BUNDLE": str(tmp_path / "ca.pem"), "AWS_PROFILE": "us"}
    there = brought(tmp_path / "login", login_files(given, given, str(tmp_path / "login")))
    assert there["AWS_PROFILE"] == "us"
    assert "AWS_CONFIG_FILE" not in there
    for name, text in (("AWS_SHARED_CREDENTIALS_FILE", "[default]"), ("AWS_CA_BUNDLE", "a certificate")):
        assert Path(there[name]).read_text() == text
        assert there[name].startswith(str(tmp_path / "login"))


def test_what_was_given_before_is_overwritten_when_it_is_gone(tmp_path):
    assert login_files({}, {}, "/login") == {ENVIRONMENT: b"{}"} | dict.fromkeys(map(str.lower, FILES), b"")


def test_a_file_that_a_variable_names_must_be_there():
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"}
    with pytest.raises(ConfigError, match="AWS_WEB_IDENTITY_TOKEN_FILE: /nowhere/token is missing"):
        login_files(given, given, "/login")


@pytest.mark.parametrize("content", [None, "[1]", "{"])
def test_what_was_not_written_by_us_is_an_error_with_the_next_action(tmp_path, content):
    if content is not None:
        (tmp_path / ENVIRONMENT).write_text(content)
    with pytest.raises(ConfigError, match=ENVIRONMENT) as error:
        read_login({FOLDER: str(tmp_path)})
    assert "--background" in error.value.hint


def test_where_no_folder_is_named_nothing_is_read():
    assert read_login({"AWS_ACCESS_KEY_ID": "a"}) == {}
    assert json.loads(login_files({}, {"a": "b"}, "/login")[ENVIRONMENT]) == {"a": "b"}
