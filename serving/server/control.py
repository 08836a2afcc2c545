"""Start and stop the API in the background, and check whether every worker of it serves a release. Light."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry import codec
from registry.errors import ConfigError, TryAgain, WorkerFailed
from serving import worker_status
from serving.job import ServeJob, differences
from serving.reach import OutOfReach
from serving.server import lockfile
from serving.server.fence import UNFENCED, api_fence
from training.environment import allowed
from training.fence.rules import lacks
from training.worker.protocol import load_failure

START_SECONDS = 60.0
LOGIN = re.compile(r"AWS_\w+|(https?|no|all)_proxy", re.IGNORECASE)
"""What an object store's client reads."""
KEPT_VARIABLES = ("HOME", "TMPDIR", "GUNICORN_CMD_ARGS")
_started: dict[int, subprocess.Popen[bytes]] = {}  # by pid: kept, so that they can be reaped


def start(job: ServeJob, folder: Path) -> str:
    """Start the API in `folder`, in a session of its own, and wait until it answers; its URL. No-op when it runs.

    Its output goes to `folder/api.log`. Raises ConfigError (port in use, it runs on another registry, or another
    version of Trainyard started it, …), WorkerFailed when it ends, TryAgain when it does not answer in time. Of other
    settings that differ see `changed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lockfile.exclusive(folder):
        found = lockfile.read(folder)
        if found is None:
            return _start(job, folder)
        others = changed(job, folder)
    if wrong := [others[name] for name in ("model", "registry") if name in others]:
        raise ConfigError(
            f"the API that runs at {found.url} is another one: {'; '.join(wrong)}",
            hint=f"stop it with `trainyard serve {job.model} --stop`, then retry",
        )
    if "formats" in others:
        raise ConfigError(
            f"the API that runs at {found.url} was {others['formats']}",
            hint=f"{start_again(job.model)}, then retry",
        )
    if why := cut_off(status(folder)):
        raise ConfigError(f"the API that runs at {found.url}: {why}", hint=f"{start_again(job.model)}, then retry")
    return found.url


def _start(job: ServeJob, folder: Path) -> str:
    (folder / "error.json").unlink(missing_ok=True)
    codec.save(job, folder / "job.json")
    with os.fdopen(lockfile.open_own(folder / "api.log", os.O_WRONLY | os.O_APPEND), "ab") as log:
        process = subprocess.Popen(
            command(job, folder),
            cwd=folder,
            env=environment(job),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started[process.pid] = process
    if not _wait(lambda: process.poll() is not None or is_ready(folder), START_SECONDS):
        for pid in (lockfile.holder(folder), process.pid):
            if pid:
                _kill(pid)
        process.wait()
        raise TryAgain(f"the API did not answer within {START_SECONDS:.0f} s", hint=f"see {folder / 'api.log'}")
    if process.returncode is None:
        return str(running(folder))
    raise load_failure(folder) or WorkerFailed(
        f"the API ended with {process.returncode}: {_last_line(folder / 'api.log')}", hint=f"see {folder / 'api.log'}"
    )


def stop(folder: Path, seconds: float | None = None) -> bool:
    """Stop the API in `folder`: requests in flight are answered, then what still runs is killed. False: none ran.

    `seconds` until it is killed; default: a little more than its job gives to requests in flight.
    """
    if not folder.is_dir():
        return False
    with lockfile.exclusive(folder):
        pid = lockfile.holder(folder)
        if not pid:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if seconds is None:
            seconds = codec.read(ServeJob, folder / "job.json").timeout_seconds + 10.0
        if not _wait(lambda: not _held(folder), seconds):
            _kill(pid)
            _wait(lambda: not _held(folder), 10.0)
        if process := _started.pop(pid, None):
            process.wait()
        (folder / "api.json").unlink(missing_ok=True)
        return True


def running(folder: Path) -> str | None:
    """The URL of the API that runs in `folder`, or None."""
    found = lockfile.read(folder)
    return found.url if found else None


def admin(folder: Path) -> str:
    """The URL of the operator's port of the API that runs in `folder`; empty when there is none."""
    found = lockfile.read(folder)
    return found.admin if found else ""


def grpc(folder: Path) -> str:
    """`host:port` at which the API that runs in `folder` speaks gRPC; empty when it does not."""
    found = lockfile.read(folder)
    return found.grpc if found else ""


def changed(job: ServeJob, folder: Path) -> dict[str, str]:
    """How the API that runs in `folder` differs from `job`, by setting: {"port": "port 8500, not 9000"}."""
    found = lockfile.read(folder)
    if found is None:
        return {}
    ports = {"port": urlsplit(found.url).port, "admin_port": urlsplit(found.admin).port}
    runs = asdict(codec.read(ServeJob, folder / "job.json")) | ports
    wanted = asdict(job) | {name: runs[name] for name in ports if not getattr(job, name)}  # 0: any
    return differences(runs | {"formats": found.formats}, wanted) | _not_kept(
        worker_status.read_all(folder / "workers")
    )


def status(folder: Path) -> dict[str, Any]:
    """What the API in `folder` serves, as `worker_status.of_all`; raises TryAgain when none runs.

    Read from the files of its processes: it takes no connection, so clients that hold all of them do not matter.
    """
    found = lockfile.read(folder)
    if found is None:
        raise TryAgain("no API is running")
    return worker_status.of_all(found.model, found.workers, folder / "workers")


def await_release(folder: Path, number: int, seconds: float) -> None:
    """As `await_workers`, for the API in `folder`."""
    await_workers(lambda: status(folder), number, seconds)


def await_workers(ask: Callable[[], dict[str, Any]], number: int, seconds: float) -> None:
    """Wait until every worker of the API answers with release `number` or a later one (or has withdrawn the model by it).

    `ask` returns what `status` does; its TryAgain means that the API is not there yet. Raises WorkerFailed with the
    reasons when a worker cannot load the release, OutOfReach when none will before the API is started again, TryAgain when
    it takes longer than `seconds`.
    """
    deadline, pause = time.monotonic() + seconds, 0.02
    while True:
        try:
            answer = ask()
            workers, expected, missing = answer["workers"], answer["expected"], behind(answer, number)
        except TryAgain as error:
            workers, expected, missing = [], 1, [str(error)]
        else:
            if why := cut_off(answer):
                raise OutOfReach(why)
        if failed := [f"{each['error']}" for each in workers if each["state"] == "failed" and each["wanted"] == number]:
            answering = any(each["release"] for each in workers)
            raise WorkerFailed(
                f"release {number} is not served: {'; '.join(dict.fromkeys(failed))}",
                hint="the API still answers with the release before it" if answering else "the API answers with 503",
            )
        if not missing and len(workers) >= expected:
            return
        if time.monotonic() >= deadline:
            reasons = "; ".join(missing) or f"{len(workers)} of {expected} server processes are up"
            raise TryAgain(f"release {number} is not served by all server processes after {seconds:.0f} s: {reasons}")
        time.sleep(pause)
        pause = min(1.5 * pause, 0.2)  # small models load at once


def cut_off(answer: dict[str, Any]) -> str:
    """Why, by what `status` gave, the API can follow no release before it is started again; empty: it can."""
    return next((each["error"] for each in answer["workers"] if each.get("cut_off")), "")  # an older API does not say


def _not_kept(workers: list[dict[str, Any]]) -> dict[str, str]:
    found = next((each["not_kept"] for each in workers if each.get("not_kept")), "")  # an older API does not say
    return {"kept": found} if found else {}


def start_again(model: str) -> str:
    """The commands, for people."""
    return f"`trainyard serve {model} --stop`, then `trainyard serve {model} --background`"


def behind(answer: dict[str, Any], number: int) -> list[str]:
    """The workers, in words, that do not serve release `number` or a later one, by what `status` gave."""
    return [_behind(each) for each in answer["workers"] if not _serves(each, number)]


def command(job: ServeJob, folder: Path) -> list[str]:
    """The command line of the API, or of the process that starts it, and follows its registry, or starts it again for folders
    that were replaced."""
    if parent := "serving.follower" if job.mirror else "serving.keeper" if job.prediction_log else "":
        return [sys.executable, "-P", "-m", parent]
    return fenced_command(job, folder)


def environment(job: ServeJob) -> dict[str, str]:
    """The environment for `command`; only who follows a registry in a bucket has what logs in there, and only who sends spans
    the settings of OpenTelemetry."""
    return child_environment(job) | (login_variables() if job.mirror else {})


def child_environment(job: ServeJob) -> dict[str, str]:
    """The environment for the API itself, whoever starts it."""
    spans = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")} if job.traces else {}
    return clean_environment() | spans


def login_variables() -> dict[str, str]:
    """What of the environment logs in to a bucket, and the way there."""
    return {name: value for name, value in os.environ.items() if LOGIN.fullmatch(name)}


def fenced_command(job: ServeJob, folder: Path) -> list[str]:
    """The command line of the API itself: it runs fenced."""
    return [*api_fence(job, folder).command(), sys.executable, "-P", "-m", "serving"]


def clean_environment() -> dict[str, str]:
    """The environment for the API: without secrets, and without the cookie by which Jenkins ends what a build has started."""
    own = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    unfenced = {UNFENCED: ", ".join(lacks())} if lacks() else {}
    return allowed(os.environ) | own | unfenced | {"PYTHONUNBUFFERED": "1"}


def _serves(worker: dict[str, Any], number: int) -> bool:
    if not worker.get("taking", True):  # an older API does not say
        return False
    if worker["state"] == "withdrawn":
        return int(worker["wanted"]) >= number
    return worker["state"] == "ready" and int(worker["release"] or 0) >= number


def _behind(worker: dict[str, Any]) -> str:
    serves = "nothing" if worker["release"] is None else f"release {worker['release']}"
    error = f" ({worker['error']})" if worker["error"] else ""
    taking = "" if worker.get("taking", True) else ", gets no connections"
    return f"server process {worker['pid']} is {worker['state']}, answers with {serves}{taking}{error}"


def is_ready(folder: Path) -> bool:
    """Whether one of the processes of the API in `folder` accepts connections."""
    try:
        return any(each.get("taking", True) for each in status(folder)["workers"])
    except TryAgain:
        return False


def _held(folder: Path) -> bool:
    for process in _started.values():
        process.poll()  # reap a child that has ended
    return lockfile.is_held(folder)


def _kill(pid: int) -> None:
    """Kill the whole session, when the process leads one; workers of a master that has ended end by themselves."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"
