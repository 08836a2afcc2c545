"""Confines this process for good, then becomes another program:

    python -I -S start.py read=PATH … names=PATH … write=PATH … device=PATH … bind=PORT … connect=PORT … -- COMMAND…

With `wait=stdin` it becomes that program when it reads a byte on its stdin, and ends when that is closed before. With
`ends=with-parent` the kernel sends it SIGTERM when the thread that has started it ends. `start.py --later` reads all this from its
stdin: see `ahead.py`.

Standard library only, and little of it: no step gets slower that one could see. What a process cannot undo, its children
and threads cannot either. See docs/adr/fences.md for what each part is for:

* no_new_privs, and no capability but the one that root needs to read its own files
* a mount namespace, where the kernel lets us have one: all is read-only but the folders to write, /dev/shm is private and
  has nothing of the real one but what was given
* Landlock: which files can be opened, which ports; no signal and no tracing out of here
* a filter of system calls, for what Landlock does not mediate (see `syscalls.py`)
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import warnings  # noqa: F401  (os.execvp imports it, when it may no longer be read)

from training.fence.syscalls import filter_system_calls

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

libc = ctypes.CDLL(None, use_errno=True)

# linux/landlock.h: what can be allowed for files, and from which ABI on
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
NODES = 1 << 6 | 1 << 9 | 1 << 11  # making devices and sockets: for nobody
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
ALL_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the others are rights on folders
READ = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV
BIND_TCP, CONNECT_TCP = 1, 2
ABSTRACT_SOCKETS, SIGNALS = 1, 2
FILES_ABI, TRUNCATE_ABI, TCP_ABI, SCOPE_ABI = 1, 3, 4, 6
CREATE_RULESET, ADD_RULE, RESTRICT_SELF, MOUNT_SETATTR = 444, 445, 446, 442  # the same numbers on x86_64 and aarch64

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
SIGTERM = 15
CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE = 1, 10
CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 8, 4096, 16384, 1 << 19
AT_FDCWD, AT_RECURSIVE, MOUNT_RDONLY = -100, 0x8000, 1

RULES = ("read", "names", "write", "device", "bind", "connect", "shm", "abi", "wait", "ends")
SHARED_MEMORY = "/dev/shm"  # noqa: S108  (a private one)


def abi() -> int:
    """Landlock's version in this kernel; 0: there is none, or it may not be used here."""
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def confine(words: Sequence[str]) -> None:
    """Confine this process, which must have one thread, by the rules on the command line above. Raises OSError when the
    kernel refuses what it should be able to do.

    What does not exist is left out. Without a port to `bind` or to `connect` to there are no sockets at all. `shm` is the
    size of the private /dev/shm in bytes, 0: 1 GiB. `abi` is an older version of Landlock, for tests.
    """
    rules = parsed(words)
    read, write = rules["read"], rules["write"]
    ports = ([*map(int, rules["bind"])], [*map(int, rules["connect"])])
    memory = next((int(each) for each in rules["shm"]), 0)
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    mounts = (read, write, rules["names"], memory)
    if _in_child(lambda: read_only_mounts(*mounts)) and read_only_mounts(*mounts):
        write = [*write, SHARED_MEMORY]
    if version := next((int(each) for each in rules["abi"]), abi()):
        allowed = [(path, READ) for path in read] + [(path, READ_DIR) for path in rules["names"]]
        allowed += [(path, ALL_FILES[5] & ~(NODES | IOCTL_DEV)) for path in write]
        allowed += [(path, DEVICE) for path in rules["device"]]
        _landlock(version, allowed, ports)
    _drop_capabilities({CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE} if ports[0] else {CAP_DAC_OVERRIDE})
    filter_system_calls(libc, sockets=any(ports))


def parsed(words: Sequence[str]) -> dict[str, list[str]]:
    """The values of each kind of rule."""
    rules: dict[str, list[str]] = {name: [] for name in RULES}
    for word in words:
        name, _, value = word.partition("=")
        rules[name].append(value)
    return rules


def read_only_mounts(read: list[str], write: list[str], names: list[str], shared_memory: int) -> bool:
    """A mount namespace in which all but the folders `write` is read-only, and /dev/shm is empty but for what of it is
    given; False when all of it is, so that it is the real one. Raises OSError.

    Landlock does not mediate chmod, chown and setxattr; a read-only mount refuses them.
    """
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)), "unshare")
    if user:  # in a namespace of our own we may mount; there we are who we were
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "wb") as file:
                file.write(text.encode())
    _mount("none", "/", "", MS_REC | MS_SLAVE)
    for path in write:
        _mount(path, path, "", MS_BIND | MS_REC)
    _set_read_only("/", on=True)
    for path in write:
        _set_read_only(path, on=False)
    is_private = not any(_is_below(os.path.realpath(SHARED_MEMORY), os.path.realpath(path)) for path in (*read, *write))
    if is_private:
        _private_shared_memory([*read, *write], names, shared_memory or 1 << 30)
    try:  # noqa: SIM105  (contextlib takes longer to import than all of this)
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=ptraceable")
    except OSError:  # not for a user, whose namespace does not own the processes
        pass
    try:  # noqa: SIM105
        os.chdir(os.getcwd())  # into the mount that can be written
    except FileNotFoundError:  # below /dev/shm, and not given: there it can open nothing
        pass
    return is_private


def _private_shared_memory(given: list[str], names: list[str], size: int) -> None:
    """Mount an empty /dev/shm of `size` bytes, and in it what is `given` below the real one, with the rights that it has
    there. Of the folders in `names` that has only what is given: Landlock allows everything below /dev/shm."""
    here = os.path.realpath(SHARED_MEMORY)
    kept: dict[str, int] = {}  # path → descriptor; an outer folder comes first, with the mounts below it
    for path in sorted({os.path.realpath(path) for path in given}):
        if _is_below(path, here) and os.path.exists(path) and not any(_is_below(path, outer) for outer in kept):
            kept[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
    links = {path: os.path.realpath(path) for path in map(os.path.abspath, given) if _is_below(path, SHARED_MEMORY)}
    _mount("tmpfs", here, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=1777,size={size}")
    for path, fd in kept.items():
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            os.makedirs(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mknod(path)
        _mount(f"/proc/self/fd/{fd}", path, "", MS_BIND | MS_REC)
        os.close(fd)
    for path in names:
        if _is_below(os.path.realpath(path), here):
            os.makedirs(path, exist_ok=True)
    for path, target in links.items():
        if target != path and not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(target, path)


def _is_below(path: str, folder: str) -> bool:
    """Whether `path` is the folder, or in it."""
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [each.encode() if each else None for each in (source, target, kind)]
    _check(libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None), f"mount {target}")


def _set_read_only(path: str, *, on: bool) -> None:
    attributes = (ctypes.c_uint64 * 4)(MOUNT_RDONLY if on else 0, 0 if on else MOUNT_RDONLY, 0, 0)
    done = libc.syscall(MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, ctypes.c_size_t(32))
    _check(done, f"mount_setattr {path}")


def _landlock(version: int, rules: list[tuple[str, int]], ports: tuple[list[int], list[int]]) -> None:
    files = ALL_FILES[max(each for each in ALL_FILES if each <= version)]
    scopes = ABSTRACT_SOCKETS | SIGNALS if version >= SCOPE_ABI else 0
    attributes = (ctypes.c_uint64 * 3)(files, BIND_TCP | CONNECT_TCP if version >= TCP_ABI else 0, scopes)
    size = 24 if version >= SCOPE_ABI else 16 if version >= TCP_ABI else 8
    ruleset = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    _check(ruleset, "landlock_create_ruleset")
    # Children need /proc/self, too. Of foreign processes Landlock leaves what `ps` shows, and not that where we have mounted
    # a /proc of our own: it lists those that may be traced, and these are our own.
    for path, rights in [*rules, ("/proc", READ)]:
        _allow(ruleset, path, rights & files)
    for right, allowed in zip((BIND_TCP, CONNECT_TCP), ports, strict=True):
        for port in allowed if version >= TCP_ABI else ():
            rule = (ctypes.c_uint64 * 2)(right, port)
            _check(libc.syscall(ADD_RULE, ruleset, 2, rule, ctypes.c_uint32(0)), f"landlock: port {port}")
    _check(libc.syscall(RESTRICT_SELF, ruleset, ctypes.c_uint32(0)), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, so nobody can open it
    if not os.path.isdir(fd):
        rights &= OF_FILES
    rule = ctypes.create_string_buffer(rights.to_bytes(8, sys.byteorder) + fd.to_bytes(4, sys.byteorder), 12)
    _check(libc.syscall(ADD_RULE, ruleset, 1, rule, ctypes.c_uint32(0)), f"landlock: {path}")
    os.close(fd)


def _drop_capabilities(of_root: set[int]) -> None:
    """All but these of root's: to read files of others where Landlock allows it, and to listen on the ports that it may.
    A user has none anyway."""
    keep = of_root if os.geteuid() == 0 else set()
    for number in range(64):
        if number not in keep and libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) and ctypes.get_errno() == errno.EINVAL:
            break  # beyond the last one
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _check(libc.capget(header, data), "capget")
    effective = data[1] & sum(1 << number for number in keep)
    _check(libc.capset(header, (ctypes.c_uint32 * 6)(effective, effective, 0, 0, 0, 0)), "capset")


def _in_child(work: Callable[[], object]) -> bool:
    """Whether `work` succeeds, in a process that it may spoil."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _from_stdin() -> list[str]:
    """The arguments, when they come; the process then has the folder and the environment that come with them."""
    size = _read(8)
    if not size:
        sys.exit("no command was needed")
    folder, number, *rest = _read(int(size, 16)).split(b"\0")
    os.chdir(folder)
    os.environb.clear()
    for each in rest[: int(number)]:
        name, _, value = each.partition(b"=")
        os.environb[name] = value
    return [os.fsdecode(each) for each in rest[int(number) :]]


def _read(size: int) -> bytes:
    """So many bytes of stdin, or what there is of them; no more."""
    data = b""
    while len(data) < size and (more := os.read(0, size - len(data))):
        data += more
    return data


def probe() -> dict[str, int | bool]:
    """What the kernel offers: Landlock's ABI, a mount namespace, the filter of system calls."""

    def filtered() -> None:
        _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        filter_system_calls(libc, sockets=False)

    return {"abi": abi(), "mounts": _in_child(lambda: read_only_mounts([], [], [], 0)), "filter": _in_child(filtered)}


def main(arguments: list[str]) -> None:
    """Confine this process by the rules, and become COMMAND. With `--probe`: say what the kernel offers, as JSON."""
    if arguments == ["--probe"]:
        import json

        print(json.dumps(probe()))  # noqa: T201
        return
    parent = os.getppid()
    if arguments == ["--later"]:
        arguments = _from_stdin()
    end = arguments.index("--")
    command, rules = arguments[end + 1 :], parsed(arguments[:end])
    try:
        confine(arguments[:end])
        if rules["ends"]:  # not earlier: with other rights the kernel forgets it
            _check(libc.prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0), "parent-death signal")
    except OSError as error:
        sys.exit(f"cannot be fenced: {error}")
    if (rules["ends"] and os.getppid() != parent) or (rules["wait"] and not os.read(0, 1)):
        sys.exit(f"{command[0]} was not needed")
    try:
        os.execvp(command[0], command)  # noqa: S606  (no shell)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")
