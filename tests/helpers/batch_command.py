"""`trainyard batch` as a person types it, in a folder with settings and a registry; benchmarks use it, too."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write_settings(folder, url, batch="", registry=""):
    """The least that the command needs: `batch` and `registry` are more lines of these sections."""
    (folder / "trainyard.toml").write_text(
        f"""
model = "digits"
[repositories]
code = "code.git"
dataset = "dataset.git"
tests = "tests.git"
[registry]
url = "{url}"
require_signatures = false
{registry}
[batch]
{batch}
""",
        encoding="utf-8",
    )


def command(*arguments):
    return [sys.executable, "-P", "-m", "pipelines", "batch", "digits", *map(str, arguments)]


def environment():
    """Ours without the settings of whoever runs this."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
    return found | {"PYTHONPATH": str(ROOT)}


def batch(folder, *arguments, timeout=200):
    """The command, ended in whatever way."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=timeout
    )


def facts(folder, *arguments, timeout=200):
    """What a run that succeeds says of itself."""
    done = batch(folder, *arguments, "--json", timeout=timeout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
