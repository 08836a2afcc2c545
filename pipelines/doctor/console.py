"""Whether the console can be used by anybody."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pipelines.config.console_sections import Console
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.doctor.finding import Finding

PRIVATE = ("secret", "users.json", "sessions.sqlite")


def is_used(config: Config) -> bool:
    """Whether it was started or set up here; nobody needs one."""
    return config.console != Console() or _folder(config).is_dir()


def console(config: Config) -> Finding:
    """Settings, users and files."""
    settings, folder = config.console, _folder(config)
    for name in PRIVATE:
        file = folder / name
        if file.exists() and file.stat().st_mode & 0o077:
            return Finding("fail", f"{file} can be read by others", f"chmod 600 {file}")
    if not settings.roles:
        return Finding(
            "fail", f"nobody has a role for {config.model}", 'in trainyard.toml: [console.roles], and "NAME" = "owner"'
        )
    if not {"owner", "admin"} & set(settings.roles.values()):
        return Finding(
            "warn",
            f"nobody may decide about {config.model} on the console",
            'give somebody the role "owner" in [console.roles]',
        )
    if settings.sign_in == "password" and not (folder / "users.json").exists():
        return Finding("fail", "nobody has a password", "`trainyard console users add NAME`")
    if settings.sign_in == "oidc":
        if find_spec("authlib") is None:
            return Finding("fail", "Authlib is not installed", "pip install -r requirements.txt")
        if not secret("CONSOLE_OIDC_SECRET"):
            return Finding(
                "warn",
                "the OpenID provider's secret for this console is not set here",
                "set TRAINYARD_CONSOLE_OIDC_SECRET_FILE",
            )
    return Finding(
        "ok", f"sign-in by {settings.sign_in}; {len(settings.roles)} roles; {settings.url or 'on this machine only'}"
    )


def _folder(config: Config) -> Path:
    return Path(config.home) / "console"
