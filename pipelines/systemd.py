"""The text of a systemd unit that keeps a long-running command running. Rules without I/O; `commands/service.py` writes
and starts it.

Nothing in a unit changes what files and namespaces a process sees (ProtectSystem and its kin): the fences of workers are
made of those, and would not hold, or not start, within.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pipelines.config.held import TAKEN
from pipelines.config.schema import Config
from registry.dataclass import dataclass
from registry.errors import ConfigError

Service = Literal["watch", "monitor", "serve", "console"]
ABOUT: Mapping[Service, str] = {
    "watch": "pipelines of {model}, for what is pushed and by the clock",
    "monitor": "checks of the live release of {model}",
    "serve": "the prediction API of {model}",
    "console": "the web pages of {model}",
}
MARK = "# written by `trainyard service install`; it may be changed here, until it is installed again"
NEEDED: Mapping[Service, tuple[str, ...]] = {
    "watch": ("APPROVAL_SECRET", "SIGNING_KEY", "SMTP_PASSWORD", "MONITOR_TOKEN"),
    "monitor": ("SMTP_PASSWORD", "MONITOR_TOKEN"),
    "serve": (),
    "console": (
        "APPROVAL_SECRET",
        "SIGNING_KEY",
        "SMTP_PASSWORD",
        "MONITOR_TOKEN",
        "JENKINS_TOKEN",
        "CONSOLE_OIDC_SECRET",
    ),
}
"""The secrets that the command reads."""
SETTING = re.compile(r"TRAINYARD_[A-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Unit:
    """Which command, for whom, and what it needs of this environment."""

    service: Service
    system: bool
    """A unit of the machine; else of one user."""
    user: str
    """As whom a unit of the machine runs."""
    command: tuple[str, ...]
    """Its first word is an absolute path."""
    credentials: Mapping[str, str]
    """Secret, e.g. `SMTP_PASSWORD` → the file that holds it."""
    settings: Mapping[str, str]
    """Variables of the environment that are settings."""

    def text(self, config: Config) -> str:
        """The unit, for the model of these settings. Raises ConfigError for a path that no unit can hold."""
        about = ABOUT[self.service].format(model=config.model)
        lines = [MARK, "[Unit]", f"Description=Trainyard: {about}", "Wants=network-online.target"]
        lines += ["After=network-online.target", "", "[Service]", "Type=exec"]
        lines += [f"User={self.user}"] if self.system else []
        lines += [f"WorkingDirectory={_plain(str(Path(config.file).parent))}", f"ExecStart={_command(self.command)}"]
        for name, path in self.credentials.items():
            lines.append(f"LoadCredential={name.lower()}:{_plain(path)}")
            lines.append(f"Environment=TRAINYARD_{name}_FILE=%d/{name.lower()}")
        lines += [f"Environment={_quoted(f'{name}={value}')}" for name, value in self.settings.items()]
        lines += ["Restart=on-failure", "RestartSec=10", "RestartPreventExitStatus=2", "TimeoutStopSec=60"]
        lines += ["NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes", "", "[Install]"]
        lines += [f"WantedBy={'multi-user' if self.system else 'default'}.target"]
        return "\n".join(lines) + "\n"


def file_name(config: Config, service: Service) -> str:
    """What systemd calls the unit."""
    return f"trainyard-{service}-{config.model}.service"


def words(config: Config, service: Service, python: str) -> tuple[str, ...]:
    """The command that the unit runs."""
    what = (service, config.model) if service == "serve" else (service,)
    return (python, "-P", "-m", "pipelines", *what, "--config", config.file)


def environment_of(service: Service, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Credentials and settings that the service needs of an environment, and the secrets of it that it cannot have.

    A secret that is given as a file is loaded from there by systemd; one that is given as a text is not written down.
    """
    files = {name: path for name in NEEDED[service] if (path := given.get(f"TRAINYARD_{name}_FILE"))}
    missing = [name for name in NEEDED[service] if given.get(f"TRAINYARD_{name}") and name not in files]
    secret = {f"TRAINYARD_{name}{end}" for name in (*TAKEN, "MONITOR_TOKEN") for end in ("", "_FILE")}
    settings = {
        name: value
        for name, value in sorted(given.items())
        if SETTING.fullmatch(name) and name not in secret and name != "TRAINYARD_CONFIG"
    }
    return files, settings, missing


def crontab(service: Service, command: Sequence[str], folder: str) -> str:
    """What does the same where there is no systemd: a line of a crontab."""
    from shlex import join, quote

    call = f"cd {quote(folder)} && {join(command)}"
    line = f"*/15 * * * * {call} --once" if service == "monitor" else f"@reboot {call}"
    return line.replace("%", r"\%")  # cron takes it for the end of the line


def _command(words: Sequence[str]) -> str:
    program, *arguments = words
    if set(program) & set("\"'\\"):
        raise ConfigError(
            f"{program!r:.200} holds a quote or a backslash, which systemd takes in no program's path",
            hint="rename the folder, and make its virtual environment again",
        )
    return " ".join((_quoted(program), *(_quoted(each).replace("$", "$$") for each in arguments)))


def _quoted(text: str) -> str:
    """A word as systemd reads it: quoted where needed, `%` doubled."""
    plain = _checked(text).replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_./:=@%,+-]+", plain):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(text: str) -> str:
    """A path that takes the rest of its line: systemd reads no quotes there."""
    return _checked(text).replace("%", "%%")


def _checked(text: str) -> str:
    if not text.isprintable():
        raise ConfigError(f"{text!r:.200} holds a character that no systemd unit can hold", hint="rename it")
    return text
