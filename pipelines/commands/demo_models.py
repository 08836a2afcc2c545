"""`trainyard demo --models 2`: docs/how-to/many-models.md, by the page's own commands, in a folder of its own."""

from __future__ import annotations

import email
import email.policy
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.commands.demo_place import Port, alone, clear
from pipelines.commands.demo_team import CHECKOUT
from registry.errors import ConfigError, PipelineError

PAGE = CHECKOUT / "docs" / "how-to" / "many-models.md"
PORTS = ("8500", "8501")
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
TOKEN = re.compile(r"\$([A-Z]+)_TOKEN")
AUTHOR = {f"GIT_{role}_{what}": "demo@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def play(folder: Path) -> None:
    """Every block of the page; when one fails, or is interrupted, nothing stays running."""
    if not PAGE.is_file():
        raise ConfigError("the demo needs a checkout of Trainyard, with its docs/ and examples/ folders")
    started = time.monotonic()
    with alone(folder):
        stop(folder)
        clear(folder)
        shell = _Shell(folder)
        try:
            for number, (said, block) in enumerate(_blocks(), 1):
                print(f"\n━━━ {number}. {said}\n", flush=True)
                shell.run(block)
        except BaseException:
            stop(folder)
            raise
        finally:
            shell.close()
    print(f"\n━━━ That was the page {PAGE.relative_to(CHECKOUT)}, in {time.monotonic() - started:.0f} seconds.")
    print(f"  The two models are in {os.path.relpath(folder / 'zoo')}; both APIs are stopped.")


def stop(folder: Path) -> None:
    """Stop what a demo that was killed has left running."""
    for file in (folder / "zoo" / "models").glob("*/trainyard.toml"):
        command = [sys.executable, "-P", "-m", "pipelines", "serve", file.parent.name, "--stop", "--config", str(file)]
        subprocess.run(command, check=False, capture_output=True)


def _blocks() -> Iterator[tuple[str, str]]:
    """What the page says before each block of commands, in one paragraph, and the block."""
    *parts, _rest = BLOCK.split(PAGE.read_text(encoding="utf-8"))
    for said, block in zip(parts[::2], parts[1::2], strict=True):
        yield LINK.sub(r"\1", said.strip().rpartition("\n\n")[2]), block


class _Shell:
    """One shell after the other: folder and variables are kept from block to block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "shell-state"
        self._state.write_text(f"cd {CHECKOUT}\n", encoding="utf-8")
        self._ports = {each: Port(int(each)) for each in PORTS}  # kept: they are ours until the APIs listen there

    def close(self) -> None:
        """Let others have the ports."""
        for each in self._ports.values():
            each.close()

    def run(self, block: str) -> None:
        """Show a block, and run it; raises PipelineError when it fails."""
        for name, port in self._ports.items():
            block = block.replace(name, str(port.number))
        print("".join(f"  {line}\n" for line in block.splitlines()), flush=True)
        keep = f'{{ export -p; echo "cd $PWD"; }} > "{self._state}"'
        script = f'. "{self._state}"\nset -euo pipefail\n{block}\n{keep}\n'
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | AUTHOR | self._tokens(block) | {"HOME": str(self.folder), "PATH": path}
        code = subprocess.run(["bash", "-c", script], env=environment, check=False).returncode
        if code:
            raise PipelineError(f"these commands ended with {code}", hint="their own words are above")

    def _tokens(self, block: str) -> dict[str, str]:
        """The tokens that the block names, from the mails that a person would read."""
        return {f"{name}_TOKEN": self._token(name.lower()) for name in TOKEN.findall(block)}

    def _token(self, model: str) -> str:
        outbox = self.folder / "zoo" / ".trainyard" / "models" / model / "outbox" / "pending"
        mails = sorted(outbox.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        for mail in mails[-1:]:
            body = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default).get_body(("plain",))
            if body is not None and (found := re.search(r"--approval (\S+)", body.get_content())):
                return found[1]
        raise PipelineError(f"no mail in {outbox} asks for an approval", hint="the lines above say what went wrong")
