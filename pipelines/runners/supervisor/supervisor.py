"""A small process between the controller and one worker, so that no process of the worker outlives its run.

The runners start it without `site`, standard library only (it is there in some 15 ms); in a container it is process 1:

    python -I -S supervisor.py CONTROL REPORT SECONDS MEMORY DISK GRACE COMMAND…

CONTROL and REPORT are descriptors, SECONDS and GRACE times, MEMORY and DISK bytes (0: without a limit). In a container
CONTROL is standard input, and REPORT standard error: what the worker writes there goes to standard output. Why a process:

* It is a child subreaper. A worker's process that makes itself a daemon (double fork, own session) becomes the
  supervisor's child instead of init's, so "children included" is exact: all that is below the supervisor in `/proc`.
* The write end of CONTROL lives in the controller only. When the controller ends, by `kill -9` too, the pipe closes and
  the supervisor kills all. PR_SET_PDEATHSIG alone reaches one process, and already when the *thread* that started it ends.
* What a worker has written is counted from here also when the controller does not see its folder.
* `preexec_fn` would run Python between fork and exec in a process with threads (the progress view), which can
  deadlock. The supervisor has one thread, so its own fork is safe.

The number of processes is the container's to limit: RLIMIT_NPROC counts all of the user, whoever started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import select
import signal
import stat
import sys
import time

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36  # linux/prctl.h
MEASURE_SECONDS = 1.0  # between two measurements of the memory of the whole tree, and of the disk
MEASURE_SHARE = 10  # counting very many files may take a tenth of the time
ENTRY = 4096  # bytes that a file costs at least: empty files fill a disk too
KILL_SECONDS = 10.0  # a process that SIGKILL does not end in this time hangs in the kernel, or belongs to another user
PAGE = os.sysconf("SC_PAGE_SIZE")
# How often the kernel has killed for want of memory in this container: cgroup v2, v1.
OOM_COUNTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


class Supervisor:
    """One worker, with its limits, and what became of it."""

    def __init__(self, fds: tuple[int, int], seconds: float, memory: int, disk: int, grace: float) -> None:
        self.control, self.report = fds
        self.memory, self.disk, self.grace = memory, disk, grace
        self.deadline = time.monotonic() + seconds if seconds else float("inf")
        self.worker = 0
        self.status: int | None = None
        self.stop_requested = False
        self.woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, self._stop)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.poll = select.poll()
        self.poll.register(self.woken, select.POLLIN)

    def start(self, command: list[str]) -> None:
        """Start the worker as the leader of a session of its own."""
        supervisor = os.getpid()
        self.worker = os.fork()
        if not self.worker:
            try:
                _use_own_streams(self.control, self.report)
                _become_worker(command, self.memory, self.disk, supervisor)
            except OSError as error:
                os.write(2, f"cannot start {command[0]}: {error}\n".encode())
            finally:
                os._exit(127)

    def watch(self) -> str:
        """Wait until the worker has ended, or must be ended; returns why."""
        self.poll.register(self.control, select.POLLIN)
        measure_at = time.monotonic() + MEASURE_SECONDS
        while True:
            self._reap()
            if self.status is not None:
                return "memory" if self.status and os.getpid() == 1 and oom_kills() else "exited"
            now = time.monotonic()
            if now >= self.deadline:
                return "timeout"
            if now >= measure_at:
                if why := self._over():
                    return why
                took = time.monotonic() - now
                measure_at = now + took + max(MEASURE_SECONDS, MEASURE_SHARE * took)
            until = min(self.deadline, measure_at if self.memory or self.disk else float("inf"))
            if self._sleep(until - now) or self.stop_requested:
                return "stopped"

    def _over(self) -> str:
        """Which limit the worker exceeds, `memory` or `disk`; empty: none."""
        if self.memory and memory_used(below(os.getpid()), self.memory) > self.memory:
            return "memory"
        return "disk" if self.disk and disk_used(self.disk) > self.disk else ""

    def end(self, why: str) -> list[int]:
        """End what is left: SIGTERM and some grace when a person or the clock wants it, then SIGKILL for all.

        Returns the processes that could not be killed.
        """
        self.poll = select.poll()
        self.poll.register(self.woken, select.POLLIN)
        if why in {"timeout", "stopped"} and self.status is None:
            self._ask()
        until = time.monotonic() + KILL_SECONDS
        while left := self._reap() and below(os.getpid()):
            if time.monotonic() > until:
                return sorted(left)
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self._sleep(0.02)
        return []

    def _ask(self) -> None:
        """SIGTERM to the worker's process group, and time to end by itself."""
        until = time.monotonic() + self.grace
        os.killpg(self.worker, signal.SIGTERM)
        while self._reap() and (left := until - time.monotonic()) > 0:
            if not any(group == self.worker and state != "Z" for group, state in below(os.getpid()).values()):
                return
            self._sleep(min(left, 0.05))

    def _reap(self) -> bool:
        """Collect who has died, adopted daemons too; whether there are children left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self.worker:
                self.status = status

    def _sleep(self, seconds: float) -> bool:
        """Until a signal, or `seconds`; whether the controller is gone."""
        events = self.poll.poll(None if seconds == float("inf") else max(0, int(seconds * 1000) + 1))
        with contextlib.suppress(BlockingIOError):
            os.read(self.woken, 4096)
        return any(fd == self.control for fd, _ in events)

    def _stop(self, *_: object) -> None:
        self.stop_requested = True


def _use_own_streams(control: int, report: int) -> None:
    """The standard streams that the supervisor itself uses are not the worker's."""
    if control == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if report == 2:
        os.dup2(1, 2)


def _become_worker(command: list[str], memory: int, disk: int, supervisor: int) -> None:
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the line above
        os._exit(127)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not RLIMIT_AS: TensorFlow reserves far more addresses than it uses.
    for what, most in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_FSIZE, disk)):
        if most:
            hard = resource.getrlimit(what)[1]
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, limit))
    _prctl(PR_SET_DUMPABLE, 1)  # else the worker could not read its own /proc/self
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")  # when the machine runs out of memory, the worker goes before the controller
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)  # Python and nohup ignore some, and exec would keep that
    os.execvp(command[0], command)  # noqa: S606  (no shell, and no fork: this is the worker)


def below(root: int) -> dict[int, tuple[int, str]]:
    """Every descendant of the process `root`: pid → (process group, state letter)."""
    found: dict[int, tuple[int, str]] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                state, parent, group = file.read().rpartition(b")")[2].split(None, 3)[:3]
        except (OSError, ValueError):
            continue  # it has just ended
        found[int(entry)] = int(group), state.decode()
        children.setdefault(int(parent), []).append(int(entry))
    todo, tree = [root], {}
    while todo:
        for pid in children.get(todo.pop(), ()):
            tree[pid] = found[pid]
            todo.append(pid)
    return tree


def memory_used(pids: dict[int, tuple[int, str]], limit: int) -> int:
    """Bytes that the processes use together. Quick while under the limit, else exact: what they share counts once."""
    quick = sum(_resident(pid)[0] for pid in pids)
    return quick if quick <= limit else sum(map(_own, pids))


def _resident(pid: int) -> tuple[int, int]:
    """Resident bytes, and how many of them are files or shared memory."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
        return int(fields[1]) * PAGE, int(fields[2]) * PAGE
    except (OSError, IndexError):
        return 0, 0


def _own(pid: int) -> int:
    """Anonymous and shared memory in bytes, divided by the number of processes that share a page."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            rows = dict(line.split(b":", 1) for line in file.read().splitlines()[1:])
        return sum(int(rows[key].split()[0]) for key in (b"Pss_Anon", b"Pss_Shmem")) * 1024
    except (OSError, KeyError, ValueError):
        resident, shared = _resident(pid)
        return resident - shared


def oom_kills() -> int:
    """How many processes of this container the kernel has killed for want of memory."""
    for name in OOM_COUNTS:
        with contextlib.suppress(OSError, ValueError), open(name, "rb") as file:
            return int(dict(line.split(None, 1) for line in file.read().splitlines()).get(b"oom_kill", 0))
    return 0


def disk_used(limit: int) -> int:
    """Bytes that the files below the current folder take, a read-only `inputs` aside. Counts no further than needed."""
    used, linked, todo = 0, set[int](), ["."]
    while todo and used <= limit:
        try:
            entries = os.scandir(todo.pop())
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return limit + 1  # nested so deep that nobody can count it
            continue
        with entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # it has just gone
                    facts = entry.stat(follow_symlinks=False)
                    if facts.st_ino not in linked:
                        used += max(facts.st_blocks * 512, ENTRY)
                    if stat.S_ISDIR(facts.st_mode):
                        todo += _to_count(entry.path, facts.st_mode)
                    elif facts.st_nlink > 1:
                        linked.add(facts.st_ino)
    return used


def _to_count(folder: str, mode: int) -> list[str]:
    if folder == "./inputs" and os.statvfs(folder).f_flag & os.ST_RDONLY:
        return []  # a mount: not what the worker wrote
    if mode & 0o500 != 0o500:
        os.chmod(folder, 0o700)  # hidden by its owner, who is this process's user
    return [folder]


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main(arguments: list[str]) -> None:
    """Run the command within limits; write to REPORT `worker PID`, and at the end, on a new line, `ended WHY STATUS LEFT…`."""
    control, report = int(arguments[0]), int(arguments[1])
    os.set_inheritable(control, False)
    os.set_inheritable(report, False)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_DUMPABLE, 0)  # a worker of the same user can neither trace the supervisor nor open what it has open
    seconds, memory, disk, grace = float(arguments[2]), int(arguments[3]), int(arguments[4]), float(arguments[5])
    supervisor = Supervisor((control, report), seconds, memory, disk, grace)
    supervisor.start(arguments[6:])
    with contextlib.suppress(BrokenPipeError):
        os.write(report, f"worker {supervisor.worker}\n".encode())
    why = supervisor.watch()
    left = supervisor.end(why)
    status = "-" if supervisor.status is None else supervisor.status
    with contextlib.suppress(BrokenPipeError):
        os.write(report, f"\nended {why} {status} {' '.join(map(str, left))}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
