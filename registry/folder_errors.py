"""What a person can do about an error of the registry's disk."""

from __future__ import annotations

import errno
from pathlib import Path

from registry.errors import ConfigError, PipelineError, TryAgain

FULL = {errno.ENOSPC, errno.EDQUOT}
AWAY = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def as_typed(error: OSError, root: Path) -> Exception:
    """The error as a PipelineError with a hint; itself when there is nothing that a person can do about it."""
    where = f"{error.filename or root}: {error.strerror}"
    kind: type[PipelineError]
    if error.errno in FULL:
        kind, hint = TryAgain, f"free space on the disk of {root}, then retry; nothing was lost"
    elif error.errno in AWAY:
        kind, hint = TryAgain, f"is the disk of {root} in reach?"
    elif error.errno in FORBIDDEN:
        kind, hint = ConfigError, f"the registry {root} must be readable, and writable for those who register"
    else:
        return error
    return kind(where, hint=hint)
