"""What a container may do, a worker's or the API's, in the terms of the engine's API. No I/O."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job
from pipelines.runners.job_folder import SETTINGS

JOB = "/job"
"""The job folder inside: the working folder, and the only folder on a disk that can be written."""
MIB = 1 << 20
TMP_MB = 256
NOBODY = 65_532  # the usual "nonroot"
PATHS = {
    "HOME": f"{JOB}/scratch",
    "TMPDIR": f"{JOB}/scratch",
    "XDG_CACHE_HOME": f"{JOB}/scratch",
    "KERAS_HOME": f"{JOB}/scratch/keras",
    "MPLCONFIGDIR": f"{JOB}/scratch/matplotlib",
    "PYTHONDONTWRITEBYTECODE": "1",  # inputs are read-only, and everything else is compiled
}


def user(*, rootless: bool) -> tuple[int, int]:
    """The user and group inside: the caller's, so that outputs are the caller's; never root outside."""
    if rootless:
        return 0, 0  # that is the caller, who runs the engine
    return (os.geteuid(), os.getegid()) if os.geteuid() else (NOBODY, NOBODY)


def groups(*, mapped: bool) -> list[int]:
    """The caller's further groups, for files that only those may read; none of root's. `mapped`: the engine is rootless or
    has a user namespace, where the numbers mean other groups."""
    return [] if mapped or not os.geteuid() else os.getgroups()


def confined(*, memory_mb: int, pids: int, mapped: bool) -> dict[str, Any]:
    """Host settings that every container has: no privileges, a read-only root, limits; 0 MiB: no limit.

    Other folders in memory go into `tmpfs`, beside `/tmp`. For `mapped` see `groups`.
    """
    memory = memory_mb * MIB
    return {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "group_add": groups(mapped=mapped),
        "ipc_mode": "private",
        "tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,mode=1777,size={TMP_MB * MIB}"},  # noqa: S108  (inside)
        "pids_limit": pids,
        **({"mem_limit": memory, "memswap_limit": memory} if memory else {}),
    }


def environment(job: Job, extra: Mapping[str, str]) -> dict[str, str]:
    """Trainyard's settings and what the job wants; nothing of the controller's environment has a meaning inside."""
    return SETTINGS | PATHS | dict(job.env) | dict(extra)


def worker_limits(job: Job, config: RunnerConfig, *, mapped: bool) -> dict[str, Any]:
    """Arguments of `create_host_config` for a worker: those of `confined`, no network, and its own limits."""
    return confined(memory_mb=job.limits.memory_mb, pids=config.pids, mapped=mapped) | {
        "network_mode": f"container:{job.reaches.container}" if job.reaches else "none",
        "shm_size": max(64 * MIB, job.limits.memory_mb * MIB // 2 or 1024 * MIB),
        "log_config": {
            "type": "none",
            "config": {},
        },  # the output is streamed to the controller; a copy could fill the engine's disk
        **({"nano_cpus": round(config.cpus * 1e9)} if config.cpus else {}),
        **({"device_requests": [GPUS]} if config.gpus and job.image == "train" else {}),
    }


GPUS = {"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}


def bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    """A mount of a folder or file of this machine; unlike the older `binds`, it fails when the engine has no such path."""
    options = {"Propagation": "rprivate"}
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only, "BindOptions": options}


def volume(name: str, target: str, *, read_only: bool) -> dict[str, Any]:
    """A mount of one of the engine's volumes."""
    options = {"NoCopy": True}
    return {"Type": "volume", "Source": name, "Target": target, "ReadOnly": read_only, "VolumeOptions": options}


def container_name(words: Iterable[str]) -> str:
    """A name that the engine takes, made of any words."""
    return "-".join("".join(c if c.isascii() and (c.isalnum() or c in "_.") else "-" for c in each) for each in words)
