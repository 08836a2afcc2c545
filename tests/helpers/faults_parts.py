"""What the tests of kills and races share: a small team, programs that are killed at the right moment, and what must hold after."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from digits_model import MODEL, TESTS, digits
from team import TRAINYARD, Team, clean_environment

from registry.stores import open_store
from registry.verify import inspect

HERE = Path(__file__).parent
SMALL = {
    "threshold = 0.8": "threshold = 0.5\nmin_samples = 5\nmax_drop = 1.0",
    "epochs = 8": "epochs = 4",
    "load_seconds = 0.5": "load_seconds = 0.1",
}
EASY_TESTS = TESTS.replace("> 0.5", ">= 0")


def small_team(folder: Path, model: str = MODEL, **settings: str) -> Team:
    """A team whose runs take seconds; everything is pushed, nothing has run. `settings`: old text to new text."""
    team = Team(folder)
    change_settings(team, SMALL)
    team.write("dataset", {"dataset.toml": 'format = "images"\n', **digits(0, 300)})
    team.write("tests", {"test_model.py": EASY_TESTS})
    team.write("code", {"model.py": model})
    for repository in ("dataset", "tests", "code"):
        team.push(repository, f"first {repository}")
    return team


def change_settings(team: Team, changes: dict[str, str]) -> None:
    text = team.config.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    team.config.write_text(text, encoding="utf-8")


def wait_for(condition, seconds=60.0, pause=0.005):
    """Until `condition` gives something; gives that. The limit is far longer than it takes."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(pause)
    return found


def begin(team: Team, *arguments: str, program=tuple(TRAINYARD), **more) -> subprocess.Popen:
    """Start `trainyard`, or another program in its place."""
    return subprocess.Popen(
        [*program, *arguments, "--config", str(team.config)], cwd=team.folder, env=clean_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more,
    )  # fmt: skip


def follow(process: subprocess.Popen, on_line) -> tuple[int, str]:
    """Call `on_line` with each line until the process ends; gives its exit code, and all that it said."""
    said = []
    with process:
        for line in process.stdout:
            said.append(line)
            on_line(line)
    return process.returncode, "".join(said)


def kill(process: subprocess.Popen) -> str:
    """`kill -9`, and what the process had said."""
    process.kill()
    return process.communicate(timeout=60)[0]


def killed_at(team: Team, event: str, path: str, *arguments: str) -> None:
    """Run `trainyard` until it does `event` (an audit event of Python) to a path that ends with `path`; there it dies."""
    program = [sys.executable, "-P", str(HERE / "dies_at.py"), event, path]
    process = begin(team, *arguments, program=program)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == -signal.SIGKILL, f"{event} {path} did not come: {said}"


def killed_while(team: Team, folder: Path | str, *arguments: str) -> None:
    """Run `trainyard` until a worker is at work in `folder`; there it is killed."""
    process = begin(team, *arguments)
    try:
        wait_for(lambda: working_in(folder) or process.poll() is not None)
    finally:
        said = kill(process)
    assert process.returncode == -signal.SIGKILL, f"it ended before: {said}"


def killed_after(team: Team, words: str, *arguments: str) -> None:
    """Run `trainyard` until it has said `words`; there it is killed."""
    process, said = begin(team, *arguments), ""
    for line in process.stdout:
        said += line
        if words in line:
            break
    kill(process)
    assert process.returncode == -signal.SIGKILL, f"it ended before: {said}"


def working_in(folder: Path | str) -> list[int]:
    """The processes whose working folder is `folder` or below."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it has ended
            if link.readlink().is_relative_to(folder):
                found.append(int(link.parent.name))
    return found


def command_line(pid: int) -> bytes:
    """How a process was started; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def nobody_works_in(folder: Path) -> None:
    """Wait until no process is left there, as a supervisor needs a moment; fails when one stays."""
    wait_for(lambda: not working_in(folder), 30.0)


def epochs(run: Path) -> list[int]:
    """The epochs that all training workers of the run have reported, in order."""
    log = run / "train" / "worker.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    events = (line.partition("@trainyard ")[2] for line in lines)
    return [int(json.loads(each)["epoch"]) for each in events if '"event": "epoch"' in each]


def step_records(run: Path) -> dict[str, str]:
    """The bytes of each step's record."""
    return {path.stem: path.read_text(encoding="utf-8") for path in (run / "steps").glob("[!.]*.json")}


def check_whole(home: Path) -> None:
    """Nothing under `home` is half a file, but what is named or lies as unfinished; and the registry verifies."""
    for path in home.rglob("*.json"):
        unfinished = any(part.startswith(".tmp-") for part in path.relative_to(home).parts)
        if not path.name.startswith(".") and not unfinished:
            json.loads(path.read_bytes())
    assert inspect(open_store(f"file://{home}/registry")).problems == ()


def left_over(home: Path) -> list[Path]:
    """Hidden files of killed writers, outside the registry's own place for them."""
    return [path for path in home.rglob(".tmp-*") if ".store" not in path.parts]


def message_ids(team: Team) -> list[str]:
    return [mail["Message-ID"] for mail in team.mails()]


def alive(pid: int) -> bool:
    """Whether the process runs; one that waits for its parent to notice its end does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def free_of(port: int) -> bool:
    """Whether the TCP port can be listened on."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def mail(run="run1", to="owner@company.example"):
    message = EmailMessage(policy=SMTP)
    message["Subject"], message["From"], message["To"] = "[digits] accepted", "trainyard@company.example", to
    message["Message-ID"] = f"<{run}.accepted@company.example>"
    message.set_content("Version 3 waits.")
    return message
