"""The filter of system calls, interpreted here for both architectures; that the kernel obeys it is in test_fence.py."""

import pytest

from training.fence import syscalls
from training.fence.syscalls import ALLOW, ARCHITECTURES, ENOSYS, EPERM, ERRNO, REFUSED, instructions

REFUSE = ERRNO | EPERM
NEW_USER, THREAD_FLAGS = 0x1000_0000, 0x003D_0F00
AF_UNIX, AF_NETLINK, DGRAM, RAW, CLOEXEC, MPTCP, UDP = 1, 16, 2, 3, 0o2000000, 262, 17


def decision(number, *arguments, machine="x86_64", sockets=False, architecture=None):
    """What the kernel would do: a classic BPF machine with the five operations that the filter uses."""
    column, its_own = ARCHITECTURES[machine]
    memory = {0: number, 4: architecture or its_own} | {16 + 8 * i: value for i, value in enumerate(arguments)}
    program = list(instructions(column, its_own, sockets=sockets))
    at = accumulator = 0
    while True:
        operation, yes, no, value = program[at]
        at += 1
        if operation == syscalls.RETURN:
            return value
        if operation == syscalls.LOAD:
            accumulator = memory.get(value, 0)
        elif operation == syscalls.AND:
            accumulator &= value
        else:
            tests = {
                syscalls.EQUAL: accumulator == value,
                syscalls.AT_LEAST: accumulator >= value,
                syscalls.ANY_BIT: accumulator & value,
            }
            at += yes if tests[operation] else no


@pytest.fixture(params=ARCHITECTURES)
def call(request):
    """`call(SOCKET, 2, 1)`: what becomes of it on this machine."""
    column = ARCHITECTURES[request.param][0]
    return lambda numbers, *arguments, **how: decision(numbers[column], *arguments, machine=request.param, **how)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_fails_with_eperm(call, name):
    assert call(REFUSED[name]) == REFUSE


@pytest.mark.parametrize("numbers", [(0, 63), (1, 64), (59, 221), (257, 56), (62, 129)], ids=str)  # read … kill
def test_everything_else_is_allowed(call, numbers):
    assert call(numbers) == ALLOW


@pytest.mark.parametrize("name", syscalls.MODES)
@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_no_file_gets_the_set_user_id_bit(name, machine):
    *numbers, at = syscalls.MODES[name]
    number = numbers[ARCHITECTURES[machine][0]]
    if number is None:
        return
    given = [0, 0, 0, 0]
    for mode, wanted in ((0o755, ALLOW), (0o2755, ALLOW), (0o4755, REFUSE), (0o6777, REFUSE), (0o104644, REFUSE)):
        given[at] = mode
        assert decision(number, *given, machine=machine) == wanted


def test_a_mode_in_memory_which_the_filter_cannot_see_is_not_taken(call):
    assert call(syscalls.OPENAT2) == ERRNO | ENOSYS


def test_another_architecture_of_the_same_machine_gets_nothing():
    assert decision(20, architecture=0x4000_0003) == REFUSE  # getpid of i386
    assert decision(0x4000_0000 | 39) == ERRNO | ENOSYS  # getpid of x32


def test_threads_and_children_are_made_and_namespaces_are_not(call):
    assert call(syscalls.CLONE, THREAD_FLAGS) == ALLOW
    assert call(syscalls.CLONE, 0x11) == ALLOW
    assert call(syscalls.CLONE, NEW_USER | 0x11) == REFUSE
    assert call(syscalls.CLONE3) == ERRNO | ENOSYS


def test_nothing_is_typed_into_a_terminal(call):
    assert call(syscalls.IOCTL, 0, 0x5401) == ALLOW
    assert call(syscalls.IOCTL, 0, 0x5412) == REFUSE
    assert call(syscalls.IOCTL, 0, 0x541C) == REFUSE


def test_limits_are_set_for_oneself_only(call):
    assert call(syscalls.PRLIMIT, 0) == ALLOW
    assert call(syscalls.PRLIMIT, 4711) == REFUSE


def test_without_ports_there_are_no_sockets_but_pairs(call):
    assert call(syscalls.SOCKET, 2, 1) == REFUSE
    assert call(syscalls.SOCKETPAIR, AF_UNIX, 1 | CLOEXEC) == ALLOW
    assert call(syscalls.SOCKETPAIR, AF_UNIX, 5) == ALLOW
    for kind in (DGRAM, RAW):  # a pair of datagram sockets sends to any name
        assert call(syscalls.SOCKETPAIR, AF_UNIX, kind) == REFUSE


@pytest.mark.parametrize("family", [2, 10])
def test_with_ports_there_are_tcp_sockets(call, family):
    assert call(syscalls.SOCKET, family, 1 | CLOEXEC, 0, sockets=True) == ALLOW
    assert call(syscalls.SOCKET, family, 1, 6, sockets=True) == ALLOW


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(AF_UNIX, 1, 0), (AF_NETLINK, RAW, 0), (17, RAW, 0), (2, DGRAM, 0), (2, RAW, 1), (2, 1, MPTCP), (10, DGRAM, UDP)],
)
def test_with_ports_there_are_no_other_sockets(call, family, kind, protocol):
    assert call(syscalls.SOCKET, family, kind, protocol, sockets=True) == REFUSE


def test_nothing_connects_while_it_sends(call):
    for numbers, at in ((syscalls.SENDTO, 3), (syscalls.SENDMSG, 2), (syscalls.SENDMMSG, 3)):
        assert call(numbers, *[0] * at, 0x4000, sockets=True) == ALLOW
        assert call(numbers, *[0] * at, 0x2000_0000, sockets=True) == REFUSE
