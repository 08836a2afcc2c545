"""What a fenced process may use: its own folders, the system, and what the kernel cannot say."""

from __future__ import annotations

import functools
import glob
import json
import os
import site
import subprocess
import sys
from collections.abc import Iterable, Mapping

from registry.dataclass import dataclass
from training.environment import CHECKOUT
from training.fence.ahead import START

PACKAGES = ("registry", "training", "retraining", "unit_tests", "serving", "pipelines")

SYSTEM = ("/usr", "/bin", "/sbin", *glob.glob("/lib*"), "/nix/store", "/gnu/store", "/var/cache/fontconfig")
# Not all of /etc: it has passwords, host keys and the settings of services.
SETTINGS = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "debian_version", "fonts", "gai.conf",
    "group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "locale.alias",
    "localtime", "mime.types", "nsswitch.conf", "OpenCL", "os-release", "passwd", "pki/tls", "pki/ca-trust", "protocols",
    "resolv.conf", "services", "ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "terminfo", "timezone", "vulkan",
)  # fmt: skip
OF_THE_MACHINE = ("/sys/devices/system", "/sys/kernel/mm/transparent_hugepage")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# How libraries find out how much of the machine is theirs, in a container.
QUOTAS = tuple(
    f"/sys/fs/cgroup/{name}"
    for name in (
        "cgroup.controllers", "cpu.max", "cpu.stat", "cpuset.cpus.effective", "memory.max", "memory.high", "memory.current",
        "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes",
    )
)  # fmt: skip
GPUS = ("/dev/nvidia*", "/dev/nvidia-caps", "/dev/dri", "/dev/kfd")
ABOUT_GPUS = ("/sys/bus/pci/devices", "/sys/devices/pci*", "/sys/module/nvidia*", "/sys/class/drm", "/sys/class/kfd")
OF_AN_INSTALLATION = ("bin", "lib", "lib64", "lib32", "libexec", "share", "etc/fonts", "ssl", "targets", "pyvenv.cfg")
"""Of the folder that a Python is installed in; others may hold anything, when somebody has made it in a project's folder."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a process, and all that it starts, may use. Everything else is refused, as far as the kernel can."""

    read: tuple[str, ...] = ()
    """Files and folders, to read and execute."""
    write: tuple[str, ...] = ()
    """Folders, to do anything in."""
    names: tuple[str, ...] = ()
    """Folders in which names may be listed, at any depth."""
    devices: tuple[str, ...] = DEVICES
    bind: tuple[int, ...] = ()
    """TCP ports to listen on; without any port here or in `connect` there are no sockets at all."""
    connect: tuple[int, ...] = ()
    """TCP ports to connect to, of any address."""
    shared_memory: int = 0
    """Bytes that a private /dev/shm may hold; 0: 1 GiB."""

    def command(self, *, waits: bool = False, ends_with_us: bool = False) -> list[str]:
        """The words before a command that is to run fenced; if it `waits`, not before a byte comes on its stdin."""
        more = [*(["wait=stdin"] if waits else []), *(["ends=with-parent"] if ends_with_us else [])]
        return [*START, *self._words(), *more, "--"]

    def apply(self) -> None:
        """Fence this process, for good. It must have one thread. Raises OSError."""
        from training.fence.confine import confine  # with ctypes; others only need the words

        confine(self._words())

    def _words(self) -> list[str]:
        values = {
            "read": self.read, "names": self.names, "write": self.write, "device": self.devices,
            "bind": self.bind, "connect": self.connect, "shm": (self.shared_memory,),
        }  # fmt: skip
        return [f"{name}={value}" for name, each in values.items() for value in each]


def around_programs() -> Fence:
    """A fence in which the system's programs run; their folders are for the caller to add."""
    return Fence(read=(*SYSTEM, *(f"/etc/{name}" for name in SETTINGS)))


def around_python(environment: Mapping[str, str] = os.environ) -> Fence:
    """A fence in which Python runs with Trainyard and all that is installed beside it; its folders are for the caller to add."""
    paths = [*around_programs().read, *OF_THE_MACHINE, *QUOTAS]
    gpus = [path for pattern in GPUS for path in glob.glob(pattern)]
    if gpus:
        paths += [path for pattern in ABOUT_GPUS for path in glob.glob(pattern)]
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        paths += [os.path.join(prefix, name) for name in OF_AN_INSTALLATION]
    # also where it leads, when an installation consists of links
    paths += [os.path.realpath(sys.executable), *_importable(environment)]
    paths += [os.path.join(CHECKOUT, package) for package in PACKAGES]
    paths += [each for each in environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if os.path.isabs(each)]
    names = (CHECKOUT,) if CHECKOUT in sys.path else ()  # to find the packages, Python lists that folder
    return Fence(read=tuple(dict.fromkeys(paths)), names=names, devices=(*DEVICES, *gpus))


def _importable(environment: Mapping[str, str]) -> Iterable[str]:
    """The folders from which workers import: not the current one, nor what PYTHONPATH adds for this process alone."""
    not_theirs = {CHECKOUT, os.getcwd(), "", *environment.get("PYTHONPATH", "").split(os.pathsep)}
    for each in (*sys.path, *site.getsitepackages()):
        if each not in not_theirs and os.path.isabs(each):
            yield each


@functools.cache
def lacks() -> tuple[str, ...]:
    """What this kernel cannot keep from a fenced process, in words; nothing when it can say all."""
    probe = subprocess.run([*START, "--probe"], capture_output=True, text=True, check=False)
    found = json.loads(probe.stdout) if probe.returncode == 0 else {"abi": 0, "mounts": False, "filter": False}
    return in_words(**found)


def in_words(*, abi: int, mounts: bool, filter: bool) -> tuple[str, ...]:  # noqa: A002
    """What is missing, by Landlock's ABI, whether there are mount namespaces, and whether system calls can be filtered."""
    from training.fence import confine

    if not abi:
        return ("files (Landlock)",)
    missing = {
        "emptying files": abi < confine.TRUNCATE_ABI,
        "TCP ports": abi < confine.TCP_ABI,
        "signals": abi < confine.SCOPE_ABI,
        "modes of files": not mounts,
        "system calls": not filter,
    }
    return tuple(name for name, is_missing in missing.items() if is_missing)
