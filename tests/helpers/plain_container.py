"""What a process may do in a plain container, or under Ubuntu's AppArmor: make no namespaces. By a real filter of system calls."""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor

from training.fence import syscalls

NO_NEW_PRIVS = 38


def in_plain_container(work, *arguments):
    """The result of `work(*arguments)` in a thread, which, with all that it starts, cannot make a namespace."""
    with ThreadPoolExecutor(1, initializer=_refuse_namespaces) as thread:
        return thread.submit(work, *arguments).result()


def _refuse_namespaces():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    unshare = syscalls.REFUSED["unshare"][syscalls.ARCHITECTURES[os.uname().machine][0]]
    syscalls.install(
        libc,
        [
            (syscalls.LOAD, 0, 0, syscalls.NUMBER),
            (syscalls.EQUAL, 0, 1, unshare),
            (syscalls.RETURN, 0, 0, syscalls.ERRNO | syscalls.EPERM),
            (syscalls.RETURN, 0, 0, syscalls.ALLOW),
        ],
    )
