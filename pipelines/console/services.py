"""What all pages of one console share; made once by `pipelines.console.app`."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask, current_app

from pipelines.config.console_sections import Console
from pipelines.config.load import secret
from pipelines.console.audit import AuditLog
from pipelines.console.installation import Installation
from pipelines.console.rates import Failures
from pipelines.console.sessions import Sessions
from pipelines.console.sign_in.local_users import Cost, LocalUsers
from pipelines.console.sign_in.mail_link import UsedLinks
from pipelines.console.sign_in.oidc import Provider
from registry.errors import ConfigError
from registry.files import write_new

PER_NAME, PER_ADDRESS, WINDOW = 5, 30, 15 * 60.0
"""Failed sign-ins of one name from one address, and of all names from it, within so many seconds."""


@dataclass(frozen=True)
class Services:
    """The parts behind the pages."""

    installation: Installation
    sessions: Sessions
    audit: AuditLog
    users: LocalUsers
    by_name: Failures
    by_address: Failures
    links: UsedLinks
    provider: Provider | None = None
    """Of OpenID Connect, where that is set."""


def services() -> Services:
    """Those of the console that answers."""
    return cast("Services", current_app.extensions["trainyard"])


def open_services(app: Flask, installation: Installation, cost: Cost | None = None) -> Services:
    """With the files in the console's folder. `cost`: of the passwords that are hashed from now on."""
    home, settings = installation.home, installation.settings
    return Services(
        installation,
        sessions_of(installation),
        audit_of(installation),
        users_of(installation, cost),
        Failures(PER_NAME, WINDOW),
        Failures(PER_ADDRESS, WINDOW),
        UsedLinks(home / "links"),
        _provider(app, settings) if settings.sign_in == "oidc" else None,
    )


def _provider(app: Flask, settings: Console) -> Provider:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Provider(app, settings, secret("CONSOLE_OIDC_SECRET"), settings.url or f"http://{host}:{settings.port}")


def users_of(installation: Installation, cost: Cost | None = None) -> LocalUsers:
    """Who has a password."""
    return LocalUsers(installation.home / "users.json", cost)


def sessions_of(installation: Installation) -> Sessions:
    """Who is signed in."""
    settings = installation.settings
    return Sessions(installation.home / "sessions.sqlite", settings.idle_minutes * 60, settings.session_hours * 3600)


def audit_of(installation: Installation) -> AuditLog:
    """Its bound is that of the settings."""
    return AuditLog(installation.home / "audit", installation.settings.audit_mb * 1_000_000)


def by_command(installation: Installation, action: str, detail: str) -> None:
    """Keep in the audit log what somebody does on the command line."""
    audit_of(installation).append(f"{getpass.getuser()}@{socket.gethostname()}", "command line", "", action, "", detail)


def own_secret(home: Path) -> str:
    """What forms and links are signed with: made once, for its owner only."""
    path = home / "secret"
    with contextlib.suppress(FileExistsError):  # made before, or by a concurrent process
        write_new(path, secrets.token_urlsafe(32).encode() + b"\n", 0o600)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others", hint="delete it: a new one is made; everybody signs in anew")
    return path.read_text(encoding="ascii").strip()
