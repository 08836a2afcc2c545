"""A filter of system calls (seccomp, classic BPF), for what Landlock does not mediate. Standard library only.

What is refused fails with EPERM. Everything else is allowed: nobody can list what a training may need.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ARCHITECTURES = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}
"""`uname -m` → column of the numbers below, AUDIT_ARCH of linux/audit.h."""
X32 = 0x4000_0000  # the third way to call an x86 kernel, with numbers of its own

REFUSED = {
    # other processes of this user
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # memory, semaphores and queues that all processes of this user find by a number or a name
    "shmget": (29, 194), "shmctl": (31, 195), "shmat": (30, 196), "semget": (64, 190), "semctl": (66, 191),
    "semop": (65, 193), "semtimedop": (220, 192), "msgget": (68, 186), "msgctl": (71, 187), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # ways around this filter and around Landlock
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    # other namespaces and mounts, where the kernel has most to get wrong
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41), "mount": (165, 40),
    "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "userfaultfd": (323, 282), "bpf": (321, 280), "perf_event_open": (298, 241),
}  # fmt: skip
CLONE, CLONE3, IOCTL, PRLIMIT = (56, 220), (435, 435), (16, 29), (302, 261)
SOCKET, SOCKETPAIR, SENDTO, SENDMSG, SENDMMSG = (41, 198), (53, 199), (44, 206), (46, 211), (307, 269)

MODES = {
    "chmod": (90, None, 1), "fchmod": (91, 52, 1), "fchmodat": (268, 53, 2), "fchmodat2": (452, 452, 2),
    "open": (2, None, 2), "openat": (257, 56, 3), "creat": (85, None, 1),
    "mknod": (133, None, 1), "mknodat": (259, 33, 2),
}  # fmt: skip
"""Calls that give a file its mode, and which of their arguments that is; None: the machine has no such call."""
OPENAT2 = (437, 437)
SET_USER_ID = 0o4000
"""The set-group-ID bit is not refused: folders that a group shares have it, and copies of them get it."""
NEW_NAMESPACES = 0x7E02_0000  # CLONE_NEW…
TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: what is put into a terminal's input, its shell runs
AF_INET, AF_INET6, SOCK_STREAM, SOCK_SEQPACKET, IPPROTO_TCP = 2, 10, 1, 5, 6
SOCK_TYPE = 0xF
MSG_FASTOPEN = 0x2000_0000  # connects without connect

LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE = 0, 4  # where struct seccomp_data has them
ALLOW, ERRNO = 0x7FFF_0000, 0x0005_0000
EPERM, ENOSYS = 1, 38
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER, SPEC_ALLOW = 1, 4
"""SPEC_ALLOW: without it some kernels slow the process down, which keeps secrets from scripts in one's own address space."""

Instruction = tuple[int, int, int, int]


def filter_system_calls(libc: ctypes.CDLL, *, sockets: bool) -> None:
    """Install the filter for this thread and what it starts; it needs no_new_privs. Raises OSError.

    `sockets`: TCP sockets may be made (Landlock says to where they may connect); else no sockets but pairs.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise OSError(ENOSYS, f"no numbers of system calls for {machine}")
    install(libc, list(instructions(*ARCHITECTURES[machine], sockets=sockets)))


def install(libc: ctypes.CDLL, program: Sequence[Instruction]) -> None:
    """As `filter_system_calls`, any program."""
    code = b"".join(
        operation.to_bytes(2, "little") + bytes((yes, no)) + value.to_bytes(4, "little")
        for operation, yes, no, value in program
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    header = (ctypes.c_uint64 * 2)(
        len(program), ctypes.addressof(buffer)
    )  # struct sock_fprog: a short, padded; a pointer
    if libc.syscall(SECCOMP[os.uname().machine], SET_MODE_FILTER, SPEC_ALLOW, header):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def instructions(column: int, architecture: int, *, sockets: bool) -> Iterator[Instruction]:
    """The program. Of each call either all arguments pass, or one test of an argument decides."""
    yield LOAD, 0, 0, ARCHITECTURE
    yield EQUAL, 1, 0, architecture
    yield RETURN, 0, 0, ERRNO | EPERM
    yield LOAD, 0, 0, NUMBER
    yield AT_LEAST, 0, 1, X32
    yield RETURN, 0, 0, ERRNO | ENOSYS
    for numbers in REFUSED.values():
        yield from _of(numbers[column], [(RETURN, 0, 0, ERRNO | EPERM)])
    # their flags and modes are in memory, where a filter cannot look; without them libraries take `clone` and `openat`
    for numbers in (CLONE3, OPENAT2):
        yield from _of(numbers[column], [(RETURN, 0, 0, ERRNO | ENOSYS)])
    for *each, mode in MODES.values():
        if (number := each[column]) is not None:  # who runs such a file has this user's rights, outside of the fence
            yield from _of(number, _refuse_bits(mode, SET_USER_ID))
    yield from _of(CLONE[column], _refuse_bits(0, NEW_NAMESPACES))
    yield from _of(IOCTL[column], _refuse_values(1, TYPING))
    yield from _of(PRLIMIT[column], _demand(0, (0,)))  # of no other process
    yield from _of(
        SOCKETPAIR[column], _demand(1, (SOCK_STREAM, SOCK_SEQPACKET), SOCK_TYPE)
    )  # others can be readdressed
    if sockets:
        kinds = [*_require(0, (AF_INET, AF_INET6)), *_require(1, (SOCK_STREAM,), SOCK_TYPE)]
        yield from _of(SOCKET[column], [*kinds, *_demand(2, (0, IPPROTO_TCP))])
        for call, flags in ((SENDTO, 3), (SENDMSG, 2), (SENDMMSG, 3)):
            yield from _of(call[column], _refuse_bits(flags, MSG_FASTOPEN))
    else:
        yield from _of(SOCKET[column], [(RETURN, 0, 0, ERRNO | EPERM)])
    yield RETURN, 0, 0, ALLOW


def _of(number: int, body: list[Instruction]) -> Iterator[Instruction]:
    """`body`, which returns, for one system call only."""
    yield EQUAL, 0, len(body), number
    yield from body


def _load(argument: int) -> Instruction:
    return LOAD, 0, 0, 16 + 8 * argument  # its lower half, where the kernel looks too


def _refuse_bits(argument: int, bits: int) -> list[Instruction]:
    return [_load(argument), (ANY_BIT, 1, 0, bits), (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | EPERM)]


def _refuse_values(argument: int, values: Iterable[int]) -> list[Instruction]:
    tests = [each for value in values for each in ((EQUAL, 0, 1, value), (RETURN, 0, 0, ERRNO | EPERM))]
    return [_load(argument), *tests, (RETURN, 0, 0, ALLOW)]


def _require(argument: int, values: tuple[int, ...], mask: int = 0) -> list[Instruction]:
    """Refuse unless the argument is one of the values."""
    tests = [(EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    masked = [(AND, 0, 0, mask)] if mask else []
    return [_load(argument), *masked, *tests, (RETURN, 0, 0, ERRNO | EPERM)]


def _demand(argument: int, values: tuple[int, ...], mask: int = 0) -> list[Instruction]:
    return [*_require(argument, values, mask), (RETURN, 0, 0, ALLOW)]
