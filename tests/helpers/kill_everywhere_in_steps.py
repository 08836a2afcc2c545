"""Each step of a pipeline, one after the other, in children that are killed before their first file operation, their second, …

After each kill nothing is half written and the registry verifies; the same step, done again, resumes. What workers make is
taken from a run that has ended, so that hundreds of kills take seconds; kills while real workers run are tried elsewhere.
Usage: python kill_everywhere_in_steps.py CONFIG HOME RUN EVERY, where RUN is the folder of the run that has ended, HOME the home
folder as it was before that run, and EVERY the stride in each step, as JSON: {"each": 1, "fetch": 4} kills before operation
1, 2, 3, …, and in fetch before 1, 5, 9, …. Prints the number of kills by step. Not run by pytest itself: it forks.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

from faults_parts import check_whole
from killed_child import dies

from pipelines import runners
from pipelines.__main__ import main
from pipelines.flows import STEPS, names
from pipelines.runners.job_folder import prepare
from pipelines.runners.process.runner import ProcessRunner

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.link",
    "os.symlink",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.chmod",
    "os.truncate",
    "subprocess.Popen",
}


class Replay(ProcessRunner):
    """Prepares a job as the process runner does; then the files of the ended run are what the worker made."""

    ended: Path

    def run(self, job, on_line):
        prepare(job, job.folder)
        made = self.ended / job.folder.resolve().relative_to(Path(os.environ["RUN"]))
        subprocess.run(["cp", "-rLT", made / "outputs", job.folder / "outputs"], check=True)
        shutil.copyfile(made / "result.json", job.folder / "result.json")

    @contextlib.contextmanager
    def service(self, job, on_line):
        prepare(job, job.folder)
        yield runners.Service("http://127.0.0.1:1", "http://127.0.0.1:1", lambda: None, lambda _end: None)


def is_change(event, arguments):
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and flags & WRITES and not str(path).startswith(("/dev/", "/proc/"))
    return event in CHANGES


def go(config, home, ended, every):
    trigger = json.loads((ended / "run.json").read_bytes())["trigger"]
    run = home / "runs" / ended.name
    os.environ["RUN"] = str(run)
    kills = {}
    for step in names(trigger):
        arguments = ["step", step, "--run", str(run), "--config", config, "--set", f"home={home}"]
        arguments += ["--trigger", trigger] if step == "resolve" else []
        kills[step] = 0
        change = 1
        while dies(partial(main, arguments), is_change, change):
            kills[step] += 1
            wait_until_released(run / ".lock")
            change += every.get(step, every["each"])
            check_whole(home)
        assert json.loads((run / "steps" / f"{step}.json").read_bytes())["outcome"] == "done"
    print(json.dumps(kills))  # noqa: T201


def wait_until_released(lock):
    """What the killed process was just starting has its open files, so its lock, until the new program begins."""
    if lock.exists():
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def load_all():
    """What the children need, so that none has to load it again."""
    for name in ("commands.step", *(f"steps.{each}" for each in STEPS)):
        import_module(f"pipelines.{name}")


if __name__ == "__main__":
    load_all()
    Replay.ended = Path(sys.argv[3])
    runners.RUNNERS["process"] = f"{__name__}:Replay"
    go(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
