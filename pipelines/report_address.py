"""Where people read what a run has left: an address of `[report] url`, else the file's path."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.schema import Config


def shown_at(config: Config, path: Path) -> str:
    """The address of a file or folder in `home`; its path without `[report] url`, or when it is not in `home`."""
    home = Path(config.home)
    if not config.report.url or not path.is_relative_to(home):
        return str(path)
    from urllib.parse import quote

    return f"{config.report.url.rstrip('/')}/{quote(path.relative_to(home).as_posix())}{'/' if path.is_dir() else ''}"
