"""The settings in force, read-only: what `trainyard config show` prints, without paths of the machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import PurePosixPath
from typing import Any

from flask import Blueprint, abort, g, render_template, request

from pipelines.config.schema import NOT_SETTINGS, Config
from pipelines.console.needs import can, needs
from pipelines.console.services import services
from pipelines.repositories import git

page = Blueprint("settings", __name__)


@page.get("/settings")
@needs("settings")
def show() -> str:
    """Of one model, of those whose settings the person may see; the first by name unless the query names another."""
    names = sorted(name for name in g.roles if can("settings", name))
    model = request.args.get("model", names[0])
    if model not in names:
        abort(404)
    config = services().installation.models[model].config
    return render_template(
        "settings.html", model=model, choices=[(each, each) for each in names], sections=sections(config)
    )


def sections(config: Config) -> list[tuple[str, list[tuple[str, str]]]]:
    """Section → name and value of each setting, as texts."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if key not in NOT_SETTINGS}
    own = str(PurePosixPath(config.shared or config.file).parent)
    single = [(key, shown(value, own)) for key, value in values.items() if not isinstance(value, dict)]
    others = [(key, value) for key, value in values.items() if isinstance(value, dict)]
    return [("", single)] + [(key, [(name, shown(each, own)) for name, each in value.items()]) for key, value in others]


def shown(value: Any, own: str) -> str:
    """A value without passwords in URLs, and of a path only what is in the folder `own`, or its last part."""
    if value is None or value in ("", (), {}):
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {shown(each, own)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(each, own) for each in value)
    return _without_path(git.redact(value), own) if isinstance(value, str) else json.dumps(value)


def _without_path(text: str, own: str) -> str:
    path = text.removeprefix("file://")
    if not path.startswith("/"):
        return text
    if own != "/" and PurePosixPath(path).is_relative_to(own):
        return str(PurePosixPath(path).relative_to(own))
    return f"…/{PurePosixPath(path).name}"
