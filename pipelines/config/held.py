"""Secrets that the environment held when this process started. They are taken out of it before anything else is started, and
then live in memory alone: neither `/proc/PID/environ` nor a child shows them. Standard library only."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, MutableMapping, Sequence

SECRETS = (
    "APPROVAL_SECRET",
    "SIGNING_KEY",
    "SMTP_PASSWORD",
    "JENKINS_TOKEN",
    "JENKINS_NOTIFY_TOKEN",
    "PREDICTION_LOG_TOKEN",
    "MONITOR_TOKEN",
    "CONSOLE_OIDC_SECRET",
)
"""What `trainyard config show` lists; each is `TRAINYARD_<name>`, or the file that `TRAINYARD_<name>_FILE` names."""
TAKEN = (*SECRETS, "APPROVAL", "API_TOKEN")
OTHERS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "OPENLINEAGE_API_KEY")
"""Secrets under the names that other tools gave them."""
PR_SET_DUMPABLE = 4
ENV_START, ENV_END = 47, 48  # fields of /proc/PID/stat after the name of the program
_held: dict[str, str] = {}


def take(names: Sequence[str] = TAKEN, environment: MutableMapping[str, str] = os.environ) -> None:
    """Take each secret out of the environment.

    With any there, this process can from then on not be traced, and leaves no core dump: its memory has them.
    """
    named = [each for name in names for each in (f"TRAINYARD_{name}", f"TRAINYARD_{name}_FILE")]
    found = [each for each in (*named, *OTHERS) if each in environment]
    if not found:
        return
    for name in found:
        _held[name] = environment.pop(name)
    _overwrite(found)


def environment_with_held(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment as it was at the start, if it is this process's; what was set since comes first."""
    return {**_held, **environment} if environment is os.environ else environment


def _overwrite(names: Sequence[str]) -> None:
    """The block of memory that the kernel shows as `environ` is what the process was started with, whatever it sets later."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:  # no /proc: then nobody sees the block either
        return
    start, end = int(fields[ENV_START]), int(fields[ENV_END])
    if not start:
        return
    at = start
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        name, sign, value = entry.partition(b"=")
        if sign and os.fsdecode(name) in names:
            ctypes.memset(at + len(name) + 1, 0, len(value))
        at += len(entry) + 1
