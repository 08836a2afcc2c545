"""Runs the commands of a page of the documentation as a newcomer would, in a home of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from team import ROOT, Team, clean_environment, free_port


def newcomer_in(home: Path, project: str) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a block as the next lines of one shell: folder and variables are kept from block to block.

    `folder` of what is returned is the project's folder below `home`.
    """
    (home / ".gitconfig").write_text("[user]\nname = New\nemail = new@example.org\n", encoding="utf-8")
    port = str(free_port())
    state = home / "shell-state"
    state.write_text(f"cd {ROOT}\n", encoding="utf-8")

    def run(block: str) -> subprocess.CompletedProcess[str]:
        script = f'. "{state}"\nset -euo pipefail\n{re.sub("850[014]", port, block)}\n{{ export -p; echo "cd $PWD"; }} > "{state}"\n'
        environment = clean_environment() | {"HOME": str(home), "TRAINYARD_SERVING_PORT": port}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done

    run.folder = home / project
    return run


def token_in(folder: Path) -> str:
    """The token of the newest mail in the outbox of a project."""
    team = object.__new__(Team)  # the same way to read the mail
    team.home = folder / ".trainyard"
    texts = [mail.get_body(("plain",)).get_content() for mail in team.mails()]
    return re.findall(r"--approval (\S+)", texts[-1])[0]
