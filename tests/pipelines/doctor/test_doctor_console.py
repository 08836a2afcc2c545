"""What the doctor says of a console: nothing where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from console_parts import PASSWORD, ConsoleProject

from pipelines.config.console_sections import Console
from pipelines.config.load import load_config
from pipelines.console.services import users_of
from pipelines.doctor.console import console, is_used
from registry.errors import ConfigError


@pytest.fixture
def project(tmp_path):
    return ConsoleProject(tmp_path)


def test_where_there_is_no_console_there_is_nothing_to_say(project):
    assert not is_used(replace(project.config, console=Console()))
    assert is_used(project.config)
    project.app()
    assert is_used(replace(project.config, console=Console()))


def test_a_console_that_somebody_can_use_is_ok(project):
    assert console(project.config).what == "nobody has a password"
    users_of(project.installation()).add("a-owner", "", PASSWORD)
    assert console(project.config).state == "ok"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"roles": {}}, "nobody has a role"),
        ({"roles": {"ada": "viewer"}}, "nobody may decide"),
        ({"sign_in": "oidc"}, "secret for this console is not set"),
    ],
)
def test_what_is_missing_is_said(project, fields, said):
    config = replace(project.config, console=replace(project.config.console, **fields))
    assert said in console(config).what


def test_a_file_that_others_can_read_is_said(project):
    project.app()
    (project.home / "console/secret").chmod(0o644)
    assert "can be read by others" in console(project.config).what


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('host = "0.0.0.0"', "speaks no TLS itself"),
        ('url = "http://trainyard.company.example"', "is not https"),
        ('url = "https://trainyard.company.example/console"', "a path is not possible"),
        ('sign_in = "proxy"', "needs console.trusted_proxies"),
        ('trusted_proxies = ["10.0.0.300"]', "console.trusted_proxies"),
        ('sign_in = "oidc"', "oidc_issuer"),
        ('sign_in = "oidc"\noidc_issuer = "http://login.example"\noidc_client_id = "t"', "not the https address"),
        ('oidc_client_id = "t"', 'is for console.sign_in = "oidc"'),
        ('user_header = "X Y"', "is not the name of a header"),
        ('[console.roles]\n"" = "owner"', "is not a name"),
        ('[console.roles]\nada = "king"', "is not one of"),
    ],
)
def test_settings_that_would_be_unsafe_are_refused(tmp_path, settings, said):
    file = tmp_path / "trainyard.toml"
    file.write_text(
        f'model = "digits"\nrepositories = {{code = "a", dataset = "b", tests = "c"}}\n[console]\n{settings}\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=said.replace("(", ".")):
        load_config(file, {})
