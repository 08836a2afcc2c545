"""A small process between the controller and one worker, so that no process of the worker outlives its run.

The process runner starts it as a file, standard library only, without `site` (it is there in some 15 ms):

    python -I -S guard.py CONTROL REPORT SECONDS MEMORY GRACE COMMAND…

CONTROL and REPORT are pipes' descriptors, SECONDS and GRACE times, MEMORY bytes; 0 is no limit. Why a process:

* It is a child subreaper. A worker's process that makes itself a daemon (double fork, own session) becomes the guard's
  child instead of init's, so "children included" is exact: everything below the guard in `/proc`, nothing else.
* The write end of CONTROL lives in the controller only. When the controller ends, by `kill -9` too, the pipe closes and
  the guard kills all. PR_SET_PDEATHSIG alone reaches one process, and already when the *thread* that started it ends.
* `preexec_fn` would run Python between fork and exec in a process with threads (the progress view), which can
  deadlock. The guard has one thread, so its own fork is safe.

The number of processes is not limited: RLIMIT_NPROC counts all processes of the user, whoever started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LOOK_SECONDS = 1.0  # between two looks at the memory of the whole tree
KILL_SECONDS = 10.0  # a process that SIGKILL does not end in this time hangs in the kernel, or is not ours
PAGE = os.sysconf("SC_PAGE_SIZE")


class Guard:
    """One worker, with its limits, and what became of it."""

    def __init__(self, control: int, seconds: float, memory: int, grace: float) -> None:
        self.control, self.memory, self.grace = control, memory, grace
        self.deadline = time.monotonic() + seconds if seconds else float("inf")
        self.worker = 0
        self.status: int | None = None
        self.peak = 0  # KiB, the largest process
        self.told_to_stop = False
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
        guard = os.getpid()
        self.worker = os.fork()
        if not self.worker:
            try:
                _become_worker(command, self.memory, guard)
            except OSError as error:
                os.write(2, f"cannot start {command[0]}: {error}\n".encode())
            finally:
                os._exit(127)

    def watch(self) -> str:
        """Wait until the worker has ended, or must be ended; says why."""
        self.poll.register(self.control, select.POLLIN)
        look = time.monotonic() + LOOK_SECONDS
        while True:
            self._reap()
            if self.status is not None:
                return "exited"
            now = time.monotonic()
            if now >= self.deadline:
                return "timeout"
            if self.memory and now >= look:
                if memory_used(below(os.getpid()), self.memory) > self.memory:
                    return "memory"
                look = time.monotonic() + LOOK_SECONDS
            until = min(self.deadline, look if self.memory else float("inf"))
            if self._sleep(until - now) or self.told_to_stop:
                return "stopped"

    def end(self, why: str) -> list[int]:
        """End what is left: SIGTERM and some grace when a person or the clock wants it, then SIGKILL for all.

        Gives the processes that could not be killed.
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
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            self.peak = max(self.peak, usage.ru_maxrss)
            if pid == self.worker:
                self.status = status

    def _sleep(self, seconds: float) -> bool:
        """Until a signal, or `seconds`; whether the controller is gone."""
        events = self.poll.poll(None if seconds == float("inf") else max(0, int(seconds * 1000) + 1))
        with contextlib.suppress(BlockingIOError):
            os.read(self.woken, 4096)
        return any(fd == self.control for fd, _ in events)

    def _stop(self, *_: object) -> None:
        self.told_to_stop = True


def _become_worker(command: list[str], memory: int, guard: int) -> None:
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:  # it died before the line above
        os._exit(127)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        # Not RLIMIT_AS: TensorFlow reserves far more addresses than it uses.
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")  # when the machine runs out of memory, the worker goes before the controller
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)  # Python and nohup ignore some, and exec would keep that
    os.execv(command[0], command)  # noqa: S606  (no shell, and no fork: this is the worker)


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


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main(arguments: list[str]) -> None:
    """Guard the command; tell on REPORT `worker PID`, and at the end `ended WHY STATUS PEAK_KIB LEFT…`."""
    control, report = int(arguments[0]), int(arguments[1])
    os.set_inheritable(control, False)
    os.set_inheritable(report, False)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = Guard(control, float(arguments[2]), int(arguments[3]), float(arguments[4]))
    guard.start(arguments[5:])
    with contextlib.suppress(BrokenPipeError):
        os.write(report, f"worker {guard.worker}\n".encode())
    why = guard.watch()
    left = guard.end(why)
    status = "-" if guard.status is None else guard.status
    with contextlib.suppress(BrokenPipeError):
        os.write(report, f"ended {why} {status} {guard.peak} {' '.join(map(str, left))}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
