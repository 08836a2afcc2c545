"""`python -P -m serving.follower`: an API whose registry does not lie on this machine, in a folder with `job.json` (ServeJob).

This process keeps a local copy of what the API reads (`registry.mirror`), and starts the API as its child (`serving.keeper`), which
follows the copy. So the API stays behind its fence: it reaches no network, and has no credentials; and it still answers, and starts
again, while the registry is out of reach. Beside the copy, in `job.mirror`:

    lock             held as long as this process lives
    state.json       what came of the last update
    follower.log

With `--alone` it starts no API, and logs to its output: the API is in another container, which mounts the copy (pipelines.deploy).
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from registry.errors import ConfigError, Corrupt, PipelineError
from registry.mirror import Mirror
from registry.records import utc_now
from registry.stores import open_store
from serving.__main__ import report
from serving.follower_login import read_login
from serving.follower_state import FollowerState, write_state
from serving.job import ServeJob
from serving.keeper import Keeper
from serving.reach import LOCK
from serving.server.program import read_job

LOG_BYTES = 1 << 20
ALONE = "--alone"
log = logging.getLogger(__name__)


class Follower:
    """Updates the copy again and again, as long as a child lives."""

    def __init__(self, job: ServeJob) -> None:
        self._folder, self._seconds = Path(job.mirror), job.poll_seconds
        self._mirror = Mirror(open_store(job.registry, job.store), job.model, Path(job.copied))
        self._state: FollowerState | None = None

    def begin(self) -> None:
        """Update the copy once. Raises what prevents it, unless there is a copy with a release to start from."""
        try:
            release = self._mirror.update()
        except (PipelineError, OSError) as error:
            if isinstance(error, Corrupt) or not self._mirror.newest:
                raise
            self._note(self._mirror.newest, str(error))
        else:
            self._note(release)

    def follow(self) -> None:
        """Update the copy as long as this process lives; no error ends it."""
        while True:
            time.sleep(self._seconds)
            try:
                self._note(self._mirror.update())
            except (PipelineError, OSError) as error:
                self._note(self._mirror.newest, str(error))
            except Exception as error:  # whatever it is, the next update may succeed
                log.exception("the registry cannot be followed, retrying")
                self._note(self._mirror.newest, f"{type(error).__name__}: {error}")

    def _note(self, release: int, error: str = "") -> None:
        """Keep it, when it is news."""
        known = self._state
        if known and (known.release, known.error) == (release, error):
            return
        if error:
            log.error("the registry cannot be read: %s", error)
        elif known is None or known.error or known.release != release:
            log.info("the newest release is %s", release)
        self._state = FollowerState(release, utc_now(), error)
        try:
            write_state(self._folder, self._state)
        except OSError as failed:  # a full disk; what can be followed is followed
            log.warning("the state cannot be written: %s", failed)


def main() -> int:
    """Serve until the API ends; 2 when a person must change something first."""
    folder = Path.cwd()
    try:
        job = read_job(folder, os.environ)
        mirror = Path(job.mirror)
        mirror.mkdir(parents=True, exist_ok=True)
        _log_to(RotatingFileHandler(mirror / "follower.log", maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8"))
        follower = _begun(job)
        keeper = Keeper(job, folder)
    except PipelineError as error:
        return report(folder, error)
    threading.Thread(target=follower.follow, name="follower", daemon=True).start()
    os._exit(keeper.run())  # also in the middle of a request that nobody answers: the copy is whole at every moment


def alone() -> int:
    """Keep the copy until stopped; 2 when a person must change something first, 75 when it may work later."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: os._exit(0))  # the copy is whole at every moment
    _log_to(logging.StreamHandler())
    try:
        job = read_job(Path.cwd(), os.environ)
        os.environ.update(read_login(os.environ))
        Path(job.copied).mkdir(parents=True, exist_ok=True)  # an API in another container begins with it
        follower = _begun(job)
    except PipelineError as error:
        return report(Path.cwd(), error)
    follower.follow()
    return 0


def _begun(job: ServeJob) -> Follower:
    _lock(Path(job.mirror))
    follower = Follower(job)
    follower.begin()
    return follower


def _log_to(handler: logging.Handler) -> None:
    logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.Formatter.converter = time.gmtime


def _lock(mirror: Path) -> None:
    """Have this process be the only one that keeps this copy, until it ends."""
    fd = os.open(mirror / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ConfigError(
            f"{mirror}: another process keeps this copy of the registry",
            hint="the API of this model is running, or being stopped: `trainyard serve MODEL --status` shows it",
        ) from None


if __name__ == "__main__":
    sys.exit(alone() if sys.argv[1:] == [ALONE] else main())
