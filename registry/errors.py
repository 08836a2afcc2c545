"""The errors a person can act on, sorted by who must act; the class carries the exit code.

* PipelineError      2  a person must change something
     + ConfigError   2    the configuration, the command line or a repository
     + WorkerFailed  2    the code that ran in a worker
     + Corrupt       2    the bytes do not match their manifest or record
     + Rejected      3    the gate, an acceptance test or an approval rejects: expected, not an error
     + TryAgain     75    the same command may work later (network, engine, lost race)

Anything else is a bug: it keeps its traceback and ends with 1.
"""

from __future__ import annotations

import errno

FREE_SPACE = "free some space, or inodes (see df -h, df -i); then the same command resumes"
"""The hint for a full disk."""


class PipelineError(Exception):
    """An error in one line, with a hint that names the next action."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(PipelineError):
    """The configuration, the command line or one of the three repositories has to be corrected."""


class WorkerFailed(PipelineError):
    """The code that ran in a worker stopped without a result."""


class Corrupt(PipelineError):
    """Bytes do not match the manifest or record that names them."""


class Rejected(PipelineError):
    """The gate, an acceptance test or an approval rejects."""

    exit_code = 3


class TryAgain(PipelineError):
    """The same command may work later."""

    exit_code = 75


def from_os_error(error: OSError, place: object = "") -> PipelineError | None:
    """What a person can do about an error of the disk; None for any other error: a bug keeps its traceback.

    `place`: where it happened, in case the error itself does not say.
    """
    where = f"{error.filename or place}: " if error.filename or place else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return TryAgain(f"{where}{error.strerror}", hint=FREE_SPACE)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}:
        return ConfigError(f"{where}{error.strerror}", hint="`trainyard doctor` shows what this user may write")
    return None


BY_NAME: dict[str, type[PipelineError]] = {
    error.__name__: error for error in (PipelineError, ConfigError, WorkerFailed, Corrupt, Rejected, TryAgain)
}
