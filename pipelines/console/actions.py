"""Roll back and demote: the command of that name, as a process of its own, which lives on when the console is restarted.

<home>/console/actions/<model>/asked.json     what was asked for, by whom
                               result.json    how it has ended
                               lock           held by the command as long as it runs
                               output         what it has printed
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.console.detached import detached
from pipelines.console.installation import Place
from pipelines.console.paths import without_folders
from pipelines.text.clean import clean
from registry import codec
from registry.dataclass import dataclass
from registry.errors import TryAgain
from registry.files import is_locked, try_lock, write_whole
from registry.records import utc_now

log = logging.getLogger(__name__)
LOOK = 0.3
"""Seconds within which a process that only checks the lock has released it."""
MOST_OUTPUT = 64 * 1024
"""Bytes of what a command has printed that are read."""
UNKNOWN = "The console was restarted before it ended. The releases below show what is live."
Command = Callable[[Config], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One decision, and what became of it."""

    verb: str
    """`roll back` or `demote`."""
    to: int
    """The version; 0: none."""
    over: int
    """The release that the person has seen."""
    by: str
    reason: str
    at: str
    running: bool = False
    code: int | None = None
    """The command's exit code."""
    said: str = ""
    """One line for a person, without paths of the machine."""

    @property
    def title(self) -> str:
        """In a few words."""
        return f"Roll back to version {self.to}" if self.verb == "roll back" else "Take out of production"


def trainyard(config: Config) -> Sequence[str]:
    """The command line that is this Trainyard, about this model."""
    return (sys.executable, "-P", "-m", "pipelines", "--config", config.file)


class Actions:
    """One at a time for each model."""

    def __init__(self, home: Path, command: Command = trainyard) -> None:
        """`home`: the console's folder. `command`: what the words of an action are appended to."""
        self._home, self._command = home, command
        self._followed: dict[str, tuple[subprocess.Popen[bytes], threading.Thread]] = {}

    def begin(self, place: Place, asked: Asked) -> None:
        """Start it. Raises TryAgain while another one runs, or when nothing can be written."""
        folder = self._folder(place)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TryAgain(f"{folder}: {error.strerror}; nothing was done", hint="is the disk full?") from error
        try:
            if not try_lock(lock, LOOK):
                raise TryAgain(f"another decision about {place.name} is at work", hint="wait until it has ended")
            (folder / "result.json").unlink(missing_ok=True)
            codec.save(asked, folder / "asked.json")
            with (folder / "output").open("wb") as output:
                process = detached([*self._command(place.config), *words(place.config, asked)], output, lock=lock)
        finally:
            os.close(lock)
        thread = threading.Thread(target=self._follow, args=(process, folder), daemon=True)
        self._followed[place.name] = process, thread
        thread.start()

    def newest(self, place: Place) -> Asked | None:
        """The newest one of this model, and what became of it."""
        folder = self._folder(place)
        try:
            asked = codec.read(Asked, folder / "asked.json")
        except FileNotFoundError:
            return None
        if place.name in self._followed or is_locked(folder / "lock"):
            return replace(asked, running=True)
        try:
            result = json.loads((folder / "result.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return replace(asked, said=UNKNOWN)
        return replace(asked, code=int(result["code"]), said=str(result["said"]))

    def join(self) -> None:
        """Wait until all that this console has begun have ended, and that is known."""
        for _, thread in list(self._followed.values()):
            thread.join()

    def end(self) -> None:
        """End them: a command that is ended resumes when it is begun again."""
        for process, _ in list(self._followed.values()):
            process.terminate()

    def _follow(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        code = process.wait()
        try:
            with (folder / "output").open("rb") as file:
                output = file.read(MOST_OUTPUT).decode("utf-8", "replace")
            if code:
                log.error("%s: %s ended with %s: %s", folder.name, process.args, code, output)
            write_whole(folder / "result.json", json.dumps({"code": code, "said": said_by(output, code)}).encode())
        finally:
            self._followed.pop(folder.name, None)

    def _folder(self, place: Place) -> Path:
        return self._home / "actions" / place.name


def words(config: Config, asked: Asked) -> list[str]:
    """What the command is asked for. Where Jenkins does it, it records the console's login, and the reason names the person."""
    reason = asked.reason
    by = [f"--by={asked.by}"]
    if config.serving.deploy == "jenkins" and asked.verb == "roll back":
        reason, by = clean(f"{reason} (asked for in the console by {asked.by})"), []
    more = [f"--over={asked.over}", f"--reason={reason}", *by, "--json"]
    if asked.verb == "roll back":
        return ["rollback", config.model, f"--to={asked.to}", *more]
    return ["demote", config.model, *more]


def said_by(output: str, code: int) -> str:
    """What a person needs to know of what the command has printed."""
    found: dict[str, object] = {}
    for line in output.splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        found = read if isinstance(read, dict) else found
    if code == 0:
        number, version = found.get("number"), found.get("version")
        live = f"Version {version} is live" if version else "Nothing is live"
        return f"{live}{f' as release {number}' if number else ''}."
    said = clean(str(found.get("error") or "The command has failed; the console's log has what it printed."), 400)
    return without_folders(said)


def now(verb: str, to: int, over: int, by: str, reason: str) -> Asked:
    """A decision that is made at this moment."""
    return Asked(verb, to, over, by, clean(reason), utc_now())
