"""A team for the tests: three bare repositories with hooks, their clones, and a `trainyard.toml`."""

from __future__ import annotations

import email
import email.policy
import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAINYARD = [sys.executable, "-P", "-m", "pipelines"]
CONFIG = """
model = "digits"
[repositories]
code = "repositories/code.git"
dataset = "repositories/dataset.git"
tests = "repositories/tests.git"
[training]
epochs = 8
max_attempts = 1
[retraining]
epochs = 8
learning_rate = 0.01
[gate]
threshold = 0.8
[acceptance]
load_seconds = 0.5
[serving]
port = {port}
"""


class Team:
    """Does what people do: edit files, commit, push, type `trainyard …`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("code", "dataset", "tests"):
            self.git("init", "--quiet", "--bare", "--initial-branch=main", f"repositories/{name}.git")
            self.git("clone", "--quiet", f"repositories/{name}.git", f"work/{name}")
            self.git("checkout", "--quiet", "-B", "main", cwd=folder / "work" / name)
        self.config = folder / "trainyard.toml"
        self.port = free_port()
        self.config.write_text(CONFIG.format(port=self.port), encoding="utf-8")
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = folder / ".trainyard"

    def git(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        person = {
            f"GIT_{role}_{what}": "dev@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.folder,
            env=clean_environment() | person,
            capture_output=True,
            text=True,
            check=True,
        )

    def write(self, repository: str, files: dict[str, str | bytes | None]) -> None:
        for name, content in files.items():
            path = self.folder / "work" / repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, repository: str, subject: str) -> str:
        work = self.folder / "work" / repository
        self.git("add", "--all", cwd=work)
        self.git("commit", "--quiet", "--allow-empty", "-m", subject, cwd=work)
        return self.git("rev-parse", "HEAD", cwd=work).stdout.strip()

    def push(self, repository: str, subject: str = "a change", branch: str = "main") -> tuple[str, str]:
        """Commit and push; gives the commit and what the pusher saw."""
        sha = self.commit(repository, subject)
        done = self.git("push", "--force", "origin", f"HEAD:{branch}", cwd=self.folder / "work" / repository)
        return sha, done.stderr

    def trainyard(
        self, *arguments: str, code: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [*TRAINYARD, *arguments, "--config", str(self.config)]
        done = subprocess.run(
            command, cwd=self.folder, env=clean_environment() | (env or {}), capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def ask(self, *arguments: str, code: int = 0) -> dict:
        """A command's answer as JSON."""
        return json.loads(self.trainyard(*arguments, "--json", code=code).stdout)

    def mails(self) -> list[email.message.EmailMessage]:
        """All mails in the outbox, the oldest first."""
        files = sorted(self.home.glob("outbox/pending/*.eml"), key=lambda path: path.stat().st_mtime_ns)
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in files]

    def promotion_command(self) -> list[str]:
        """The command in the newest mail that has one, without the program's name."""
        for mail in reversed(self.mails()):
            for line in mail.get_body(("plain",)).get_content().splitlines():
                if " promote digits " in line:
                    return shlex.split(line)[1:]
        raise AssertionError("no mail with a promotion command")

    def promote(self) -> None:
        done = subprocess.run([*TRAINYARD, *self.promotion_command()], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def stop_api(self) -> None:
        self.trainyard("serve", "digits", "--stop")

    def cards(self) -> list[dict]:
        paths = sorted(self.home.glob("registry/test/digits/*/card.json"), key=lambda path: int(path.parent.name))
        return [json.loads(path.read_bytes()) for path in paths]

    def runs(self, trigger: str = "") -> list[Path]:
        found = [path.parent for path in self.home.glob("runs/*/run.json")]
        return [
            path for path in found if json.loads((path / "run.json").read_bytes())["trigger"] == (trigger or "code")
        ]


def clean_environment() -> dict[str, str]:
    dropped = ("GIT_", "TRAINYARD_")
    return {key: value for key, value in os.environ.items() if not key.startswith(dropped) or key == "GIT_SSL_CAINFO"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
