"""What the people of the demo do: write data, push, read mails, ask the API, type commands."""

from __future__ import annotations

import email
import email.policy
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.commands.demo_place import Port
from pipelines.commands.demo_scanner import Scanner
from pipelines.commands.demo_store import BUCKET, DemoStore
from pipelines.commands.seaweedfs import REGION
from pipelines.config.load import load_config
from pipelines.trust import open_registry
from registry.errors import PipelineError
from registry.stores import Store

CHECKOUT = Path(__file__).resolve().parents[2]


class Team:
    """Its folder, its repositories, and the commands that its people type."""

    def __init__(self, folder: Path, runner: str, store: DemoStore, kind: str) -> None:
        """`store` is used with the `kind` "s3"."""
        self.folder = folder
        self.runner = runner
        self.store = store
        self.kind = kind
        self.work = folder / "work"
        self.config = folder / "trainyard.toml"
        self.url = ""
        self.port: Port | None = None
        self.scene = 0
        self.scanner = Scanner(folder, "")

    def _write_data(self, part: str) -> None:
        script = str(CHECKOUT / "examples" / "write_data.py")
        folder = self.work / "dataset"
        described, section = folder / "dataset.toml", ""
        if self.kind == "s3":  # the example itself has none, and must be found as it is
            section = (
                f'\n[data]\nstore = "s3://{BUCKET}/digits"\nendpoint = "{self.store.endpoint}"\nregion = "{REGION}"\n'
            )
            if described.exists():
                described.write_text(described.read_text(encoding="utf-8").removesuffix(section), encoding="utf-8")
        quietly(sys.executable, script, str(folder), "digits", "--part", part)
        if section:
            with described.open("a", encoding="utf-8") as file:
                file.write(section)
            for words in (["add", "pictures"], ["push"]):
                command = [sys.executable, "-P", "-m", "pipelines", "data", *words]
                self._run(command, shown=f"trainyard data {shlex.join(words)}", cwd=folder)

    def _push(self, name: str, subject: str) -> None:
        folder = self.work / name
        author = ["-c", "user.name=Demo", "-c", "user.email=demo@example.org"]
        quietly("git", "add", "--all", cwd=folder)
        quietly("git", *author, "commit", "--quiet", "--message", subject, cwd=folder)
        print(f"$ git -C {os.path.relpath(folder)} push      # {subject}", flush=True)
        subprocess.run(["git", "push", "--quiet", "origin", "main"], cwd=folder, check=True)

    def _promote_from_mail(self, *, show: bool) -> None:
        outbox = self.folder / ".trainyard" / "outbox" / "pending"
        mails = sorted(outbox.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        if not mails:
            raise PipelineError(f"no mail in {outbox}", hint="the lines above say what went wrong")
        message = email.message_from_bytes(mails[-1].read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        assert body is not None
        text = body.get_content()
        if show:
            print(f"To: {message['To']}\nSubject: {message['Subject']}\n")
            print("\n".join(f"  | {line}" for line in text.splitlines()), end="\n\n")
        else:
            print(f"The mail: {message['Subject']}\n")
        command = next((line.strip() for line in text.splitlines() if " promote digits " in line), "")
        if not command:
            raise PipelineError(f"the mail has no promotion command: {message['Subject']}", hint=f"read {mails[-1]}")
        self._run(shlex.split(command), shown=command.partition("--approval")[0] + "--approval …")

    def _predict(self, what: str, image: Path) -> None:
        print(f"Ask the API about {what}:")
        url = f"{self.url}/predict"
        if shutil.which("curl"):
            self._run(["curl", "--silent", "--show-error", "--fail-with-body", "--data-binary", f"@{image}", url])
            print()
            return
        import requests

        answer = requests.post(url, data=image.read_bytes(), timeout=10)
        print(f"$ curl --data-binary @{os.path.relpath(image)} {url}\n{json.dumps(answer.json())}")
        answer.raise_for_status()

    def _image(self, label: str, index: int) -> Path:
        return sorted((self.work / "dataset" / "pictures" / label).glob("*.png"))[index]

    def _registry(self) -> Store:
        return open_registry(load_config(self.config, os.environ), only_look=True)

    def _trainyard(self, *arguments: str, quiet: bool = False, expected: int = 0) -> None:
        command = [sys.executable, "-P", "-m", "pipelines", *arguments, "--config", str(self.config)]
        if quiet:
            subprocess.run(command, check=False, capture_output=True)
        else:
            self._run(command, shown=f"trainyard {shlex.join(arguments)}", expected=expected)

    def _run(self, command: Sequence[str], shown: str = "", cwd: Path | None = None, expected: int = 0) -> None:
        text = shown or shlex.join(os.path.relpath(each) if each.startswith("/") else each for each in command)
        print(f"$ {text.replace(f'@{Path.cwd()}/', '@')}", flush=True)
        code = subprocess.run(command, check=False, cwd=cwd).returncode
        if code != expected:
            raise PipelineError(f"{shown or command[0]} ended with {code}", hint="its own words are above")

    def _say(self, title: str, *lines: str) -> None:
        self.scene += 1
        print(f"\n━━━ {self.scene}. {title}", *lines, "", sep="\n", flush=True)


def quietly(*command: str, cwd: Path | None = None) -> None:
    """Run a command that nobody need see; raises PipelineError with its words when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
