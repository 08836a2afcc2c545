"""Three repositories with hooks around the digits example, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
EPOCHS, BATCH_SIZE = 15, 32
# One attempt of exactly EPOCHS epochs, whatever it reaches: the script that it is compared with does the same.
CONFIG = f"""
model = "digits"
[repositories]
code = "code.git"
dataset = "dataset.git"
tests = "tests.git"
[training]
epochs = {EPOCHS}
patience = {EPOCHS}
batch_size = {BATCH_SIZE}
max_attempts = 1
[gate]
threshold = 0.8
[serving]
port = 0
"""
NAMES = ("code", "dataset", "tests")


class Playground:
    """Bare repositories, clones to push from, `trainyard.toml`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "trainyard.toml"
        self.home = folder / ".trainyard"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.pushes = 0
        for name in NAMES:
            self.run("git", "init", "-q", "--bare", "-b", "main", f"{name}.git")
            self.run("git", "init", "-q", "-b", "main", f"work/{name}")
            self.run("git", "remote", "add", "origin", str(folder / f"{name}.git"), at=name)
        self.run(sys.executable, "-P", str(EXAMPLES / "write_data.py"), "work/dataset", "digits", "--part", "first")
        for name in ("code", "tests"):
            shutil.copytree(EXAMPLES / "digits" / name, self.work(name), dirs_exist_ok=True)
        for name in ("dataset", "tests"):
            self.commit(name)
            self.run("git", "push", "-q", "origin", "main", at=name)
        self.run(sys.executable, "-P", "-m", "pipelines", "hooks", "install", "--config", str(self.config))

    def work(self, name: str) -> Path:
        """The clone of a repository."""
        return self.folder / "work" / name

    def commit(self, name: str) -> None:
        """Commit all that is there."""
        author = ["-c", "user.name=Bench", "-c", "user.email=bench@localhost"]
        self.run("git", "add", "-A", at=name)
        self.run("git", *author, "commit", "-q", "-m", f"Round {self.pushes}", at=name)

    def change_code(self) -> None:
        """A new commit of the code repository: another comment, the same model."""
        self.pushes += 1
        with (self.work("code") / "model.py").open("a", encoding="utf-8") as file:
            file.write(f"# round {self.pushes}\n")
        self.commit("code")

    def change_readme(self) -> None:
        """A new commit of the code repository that no model can depend on."""
        self.pushes += 1
        (self.work("code") / "README.md").write_text(f"Round {self.pushes}\n", encoding="utf-8")
        self.commit("code")

    def push_code(self) -> str:
        """Push it; the hook runs the pipeline meanwhile. Gives what the pusher sees."""
        return self.run("git", "push", "-q", "origin", "main", at="code")

    def push_quietly(self, name: str) -> None:
        """Push without the hook: nothing runs."""
        without = "--receive-pack=git -c core.hooksPath=/dev/null receive-pack"
        self.run("git", "push", "-q", without, "origin", "main", at=name)

    def mails(self) -> int:
        """How many mails are in the outbox."""
        return len(list((self.home / "outbox").rglob("*.eml")))

    def newest_run(self) -> Path:
        """The folder of the run that began last."""
        return max((self.home / "runs").iterdir(), key=lambda path: (path / "run.json").stat().st_mtime_ns)

    def run(self, *command: str, at: str = "") -> str:
        """Run a command here or in a clone; what it printed. Ends the benchmark when it fails."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "GIT_"))}
        environment |= {name: os.environ[name] for name in ("GIT_SSL_CAINFO",) if name in os.environ}
        done = subprocess.run(
            command,
            cwd=self.work(at) if at else self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout
