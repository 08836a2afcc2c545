"""What logs in to a bucket, for a process in a container that follows it: files in a folder that is mounted there alone. So no
secret is in an image, on a command line, or in what the engine shows of a container. Light.

    environment.json         names and values of variables; those that name files name files in this folder
    aws_config_file, …       these files; empty: there is none
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from registry.errors import ConfigError

ENVIRONMENT = "environment.json"
FOLDER = "TRAINYARD_LOGIN"
"""The variable that names the folder."""
FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_CA_BUNDLE": "",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "",
}
"""Variables that name files → what an object store's client reads without them."""


def login_files(environ: Mapping[str, str], wanted: Mapping[str, str], folder: str) -> dict[str, bytes]:
    """All files, by name, as they are to be in `folder`; `wanted` are the variables of `environ` that log in.

    Raises ConfigError for a file that a variable names and that cannot be read.
    """
    variables, files = dict(wanted), dict[str, bytes]()
    for name, usual in FILES.items():
        data = _read(name, environ.get(name, ""), usual)
        files[name.lower()] = data
        if data:
            variables[name] = f"{folder}/{name.lower()}"
    return {ENVIRONMENT: json.dumps(variables, sort_keys=True).encode(), **files}


def read_login(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that log in; none where no folder is named. Raises ConfigError."""
    if not (folder := environ.get(FOLDER, "")):
        return {}
    path = Path(folder) / ENVIRONMENT
    try:
        return {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: {error}", hint="`trainyard serve MODEL --stop`, then `--background` writes it anew"
        ) from None


def _read(name: str, given: str, usual: str) -> bytes:
    try:
        return Path(given or usual).expanduser().read_bytes() if given or usual else b""
    except FileNotFoundError:
        if not given:
            return b""
        raise ConfigError(f"{name}: {given} is missing", hint="unset it, or name the file") from None
    except (OSError, RuntimeError) as error:  # a user without a home
        if not given:
            return b""
        raise ConfigError(f"{name}: {given}: {error}", hint="run as a user who may read it") from None
