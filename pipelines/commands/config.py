"""`trainyard config show`: every setting with its value, as TOML; secrets only as set or not set."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from pipelines.config.held import SECRETS
from pipelines.config.load import secret, secret_source
from pipelines.config.schema import NOT_SETTINGS, Config
from pipelines.repositories import git


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("action", choices=("show",))


def main(args: argparse.Namespace, config: Config) -> int:
    """Print the settings after flag, environment, file and default."""
    values = {key: _shown(value) for key, value in dataclasses.asdict(config).items() if key not in NOT_SETTINGS}
    secrets = {f"TRAINYARD_{name}": "set" if secret(name) else "not set" for name in SECRETS}
    if args.json:
        print(json.dumps({"file": config.file, "settings": values, "secrets": secrets}, indent=1))
        return 0
    print(f"# {config.file}, with the environment and the defaults filled in")
    sections = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key in values.keys() - sections.keys():
        print(f"{key} = {_toml(values[key])}")
    for section, settings in sections.items():
        print(f"\n[{section}]")
        for key, value in settings.items():
            print(f"# {key} is not set" if value is None else f"{key} = {_toml(value)}")
    print("\n# secrets, from the environment only (each also as …_FILE)")
    for name, state in secrets.items():
        print(
            f"# {name}: {state}"
            + (f" (as {name}_FILE)" if secret_source(name.removeprefix("TRAINYARD_")) == "_FILE" else "")
        )
    return 0


def _shown(value: Any) -> Any:
    """Without what may be a password in a URL."""
    if isinstance(value, dict):
        return {key: _shown(each) for key, each in value.items()}
    return git.redact(value) if isinstance(value, str) else value


def _toml(value: Any) -> str:
    """TOML's scalars and lists of texts are written like JSON's."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(name)} = {_toml(each)}' for name, each in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
