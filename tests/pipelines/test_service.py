"""`trainyard service`: a systemd unit that systemd itself accepts, and what is called to start, show and remove it."""

import argparse
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.commands import service
from pipelines.config.schema import Config, Repositories, Serving
from pipelines.systemd import MARK, Unit, crontab, environment_of, file_name
from registry.errors import ConfigError

SYSTEMCTL = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
  *is-active*) cat {state}; grep -q '^active' {state} ;;
  *is-enabled*) echo enabled ;;
  *"$(cat {refused})"*) echo "Failed to connect to bus" >&2; exit 1 ;;
esac
"""


class Machine:
    """A machine with a systemctl that notes what it is asked for."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.units = folder, folder / "units"
        self.log, self.state, self.refused = folder / "calls", folder / "state", folder / "refused"
        self.log.touch()
        self.state.write_text("active\n")
        self.refused.write_text("nothing of that\n")
        program = folder / "bin" / "systemctl"
        program.parent.mkdir()
        program.write_text(SYSTEMCTL.format(log=self.log, state=self.state, refused=self.refused))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        file = folder / "trainyard.toml"
        file.touch()
        self.config = Config("digits", Repositories("a", "b", "c"), home=str(folder / "home"), file=str(file))
        self.booted = folder

    def run(self, *arguments, json=False):
        parser = argparse.ArgumentParser()
        service.add_arguments(parser)
        parser.set_defaults(json=json)
        return service.run(parser.parse_args(arguments), self.config, self.booted, self.units)

    @property
    def calls(self):
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for name in [each for each in os.environ if each.startswith("TRAINYARD_")]:
        monkeypatch.delenv(name)
    return Machine(tmp_path, monkeypatch)


def test_a_unit_is_written_enabled_and_started(machine, capsys):
    assert machine.run("install", "watch", "--system") == 0
    unit = machine.units / "trainyard-watch-digits.service"
    assert machine.calls[:3] == ["daemon-reload", f"enable {unit.name}", f"restart {unit.name}"]
    text = unit.read_text()
    command = f"{sys.executable} -P -m pipelines watch --config {machine.config.file}"
    assert f"ExecStart={command}\n" in text
    assert f"WorkingDirectory={machine.folder}\n" in text
    assert "RestartPreventExitStatus=2\n" in text, "a wrong setting is not tried again and again"
    assert f"watch: active, enabled\n  unit  {unit}\n" in capsys.readouterr().out


def test_a_unit_of_a_user_is_in_their_folder_and_says_how_it_stays(machine, capsys):
    assert machine.run("install", "serve", "--user") == 0
    unit = machine.folder / "config/systemd/user/trainyard-serve-digits.service"
    assert "User=" not in unit.read_text()
    assert " pipelines serve digits --config " in unit.read_text()
    assert machine.calls[0] == "--user daemon-reload"
    assert "loginctl enable-linger" in capsys.readouterr().out


def test_print_only_prints(machine, capsys):
    machine.booted = machine.folder / "no systemd here"
    assert machine.run("install", "monitor", "--system", "--print") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(MARK)
    assert printed.endswith("WantedBy=multi-user.target\n")
    assert not machine.units.exists()
    assert machine.calls == []


def test_without_systemd_it_says_what_to_write_into_a_crontab(machine):
    machine.booted = machine.folder / "no systemd here"
    with pytest.raises(ConfigError, match="systemd does not run on this machine") as error:
        machine.run("install", "watch")
    assert error.value.hint.endswith(
        f"@reboot cd {machine.folder} && {sys.executable} -P -m pipelines watch --config {machine.config.file}"
    )
    with pytest.raises(ConfigError) as error:
        machine.run("install", "monitor")
    assert ": */15 * * * * cd " in error.value.hint
    assert error.value.hint.endswith(" --once")
    assert not machine.units.exists()


def test_a_percent_sign_does_not_end_a_line_of_a_crontab():
    assert crontab(
        "watch", ("/a/100%/python", "-m", "x"), "/a b"
    ) == r"@reboot cd '/a b' && '/a/100\%/python' -m x" or (
        crontab("watch", ("/a/100%/python", "-m", "x"), "/a b") == r"@reboot cd '/a b' && /a/100\%/python -m x"
    )


def test_show_ends_as_systemctl_status_does(machine, capsys):
    assert machine.run("show", "watch", "--system") == 3
    assert "watch: not installed" in capsys.readouterr().out
    machine.run("install", "watch", "--system")
    assert machine.run("show", "watch", "--system") == 0
    machine.state.write_text("failed\n")
    assert machine.run("show", "watch", "--system") == 3
    assert "watch: failed, enabled" in capsys.readouterr().out


def test_remove_stops_it_and_deletes_the_unit_and_may_be_repeated(machine, capsys):
    machine.run("install", "watch", "--system")
    unit = machine.units / "trainyard-watch-digits.service"
    assert machine.run("remove", "watch", "--system") == 0
    assert not unit.exists()
    assert machine.calls[-2:] == [f"disable --now {unit.name}", "daemon-reload"]
    assert machine.run("remove", "watch", "--system") == 0
    assert "watch: removed" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["install", "remove"])
def test_a_unit_of_somebody_else_is_left_alone(machine, action):
    unit = machine.units / "trainyard-watch-digits.service"
    unit.parent.mkdir()
    unit.write_text("[Unit]\n")
    with pytest.raises(ConfigError, match="was not written by Trainyard"):
        machine.run(action, "watch", "--system")
    assert unit.read_text() == "[Unit]\n"
    assert machine.calls == []


def test_what_systemctl_refuses_is_shown(machine):
    machine.refused.write_text("restart")
    with pytest.raises(ConfigError, match="Failed to connect to bus") as error:
        machine.run("install", "watch", "--user")
    assert error.value.hint.startswith("log in as that user")


def test_secrets_come_from_files_and_are_never_written_down(machine, monkeypatch, capsys):
    secret = machine.folder / "smtp"
    secret.write_text("hidden")
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("TRAINYARD_APPROVAL_SECRET", "hidden, too")
    monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", "not of its business")
    monkeypatch.setenv("TRAINYARD_GATE_THRESHOLD", "0.9")
    monkeypatch.setenv("TRAINYARD_CONFIG", "somewhere")
    assert machine.run("install", "watch", "--system", "--print") == 0
    printed, said = capsys.readouterr()
    assert (
        f"LoadCredential=smtp_password:{secret}\nEnvironment=TRAINYARD_SMTP_PASSWORD_FILE=%d/smtp_password\n" in printed
    )
    assert "Environment=TRAINYARD_GATE_THRESHOLD=0.9\n" in printed
    assert "hidden" not in printed + said
    assert "JENKINS" not in printed + said
    assert "TRAINYARD_CONFIG" not in printed
    assert "note: TRAINYARD_APPROVAL_SECRET is set here, and the service will not have it" in said


def test_a_service_gets_only_the_secrets_that_it_reads():
    given = {f"TRAINYARD_{name}_FILE": "/x" for name in ("SMTP_PASSWORD", "SIGNING_KEY", "MONITOR_TOKEN")}
    assert {name: sorted(environment_of(name, given)[0]) for name in ("watch", "monitor", "serve")} == {
        "watch": ["MONITOR_TOKEN", "SIGNING_KEY", "SMTP_PASSWORD"],
        "monitor": ["MONITOR_TOKEN", "SMTP_PASSWORD"],
        "serve": [],
    }


def test_a_unit_of_the_machine_runs_as_who_owns_the_home(machine, capsys):
    home = Path(machine.config.home)
    home.mkdir()
    machine.run("install", "watch", "--system", "--print")
    assert f"User={pwd.getpwuid(home.stat().st_uid).pw_name}\n" in capsys.readouterr().out
    machine.run("install", "watch", "--system", "--as", "nobody", "--print")
    assert "User=nobody\n" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="this machine has no such user"):
        machine.run("install", "watch", "--system", "--as", "n-o-b-o-d-y", "--print")
    with pytest.raises(ConfigError, match="a unit of a user runs as that user"):
        machine.run("install", "watch", "--user", "--as", "nobody")


def test_an_api_that_is_not_a_process_is_not_made_a_service(machine):
    machine.config = replace(machine.config, serving=Serving(deploy="docker"))
    with pytest.raises(ConfigError, match="the API is not a process of this machine's systemd"):
        machine.run("install", "serve", "--system", "--print")


def test_a_path_that_no_unit_can_hold_is_refused(machine):
    machine.config = replace(machine.config, file="/a\nExecStartPre=b/trainyard.toml")
    with pytest.raises(ConfigError, match="holds a character that no systemd unit can hold"):
        machine.run("install", "watch", "--user", "--print")


ODD = ["plain", "a b", "100%n", "$HOME", "ü;x", "${X}%%"]


@pytest.mark.parametrize(
    ("program", "folder"),
    [*((each, each) for each in ODD), *(("plain", each) for each in ('quo"te', "it's", "back\\slash"))],
)
@pytest.mark.parametrize("system", [True, False])
def test_systemd_accepts_the_unit_whatever_the_paths_hold(tmp_path, program, folder, system):
    """It also says when the program, which it unquotes, does not exist or cannot be executed."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    python = tmp_path / program / "python"
    python.parent.mkdir()
    python.symlink_to("/bin/true")
    (tmp_path / folder).mkdir(exist_ok=True)
    config = Config("digits", Repositories("a", "b", "c"), file=str(tmp_path / folder / "trainyard.toml"))
    command = (str(python), "-m", "x", "--config", config.file)
    files = {"SMTP_PASSWORD": str(tmp_path / folder / "smtp")}
    unit = Unit("watch", system, "root", command, files, {"TRAINYARD_MAIL_TO": f'["{folder}"]'})
    file = tmp_path / file_name(config, "watch")
    file.write_text(unit.text(config))
    whose = [] if system else ["--user"]
    done = subprocess.run(
        ["systemd-analyze", *whose, "verify", "--man=no", file],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "trainyard" in line]
    assert (said, done.returncode) == ([], 0), done.stderr


@pytest.mark.parametrize("name", ['quo"te', "it's", "back\\slash"])
def test_a_program_whose_path_systemd_does_not_take_is_refused(name):
    config = Config("digits", Repositories("a", "b", "c"), file="/x/trainyard.toml")
    with pytest.raises(ConfigError, match="holds a quote or a backslash"):
        Unit("watch", True, "root", (f"/{name}/python", "-m", "x"), {}, {}).text(config)
