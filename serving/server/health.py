"""`python -P -m serving.server.health [/version]`: looks whether the API that runs in the current folder is ready.

Without argument: exit code 0 when it is ready to predict, else 1 with the reason: what a container's health check wants.
With `/version`: prints what each server process serves, as JSON; 1 when no API runs. It reads the files of the server
processes, so clients that hold every connection do not make a healthy API look ill. Light.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from registry.errors import PipelineError
from serving.server import control


def main(arguments: list[str]) -> int:
    """The command."""
    try:
        found = control.status(Path.cwd())
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if arguments:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    sys.stdout.write(_words(found) + "\n")
    return 0 if found["version"] is not None else 1


def _words(found: dict[str, Any]) -> str:
    if found["version"] is not None:
        return f"ready: version {found['version']}, release {found['release']}"
    words = {"loading": "it is loading", "withdrawn": "nothing is live"}
    said = dict.fromkeys(str(each["error"] or words.get(each["state"])) for each in found["workers"])
    return f"no model to answer with: {'; '.join(said) or 'no server process is up'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
