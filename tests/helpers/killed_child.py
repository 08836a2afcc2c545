"""Work in a child that is killed before its first change to the disk, its second, …: for scripts of their own, as it forks."""

import os
import signal
import sys
import tempfile


def dies(work, is_change, kill_before):
    """Run `work` in a child that is killed before its change number `kill_before`; whether it was killed.

    `is_change(event, arguments)` says which audit events of Python are changes; each fsync is one too. Fails with what
    the child has said when it ends in another way. `work` may give an exit code.
    """
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            _count(is_change, kill_before)
            _end_with(work)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        assert status in {0, signal.SIGKILL}, f"failed after kill {kill_before - 1}:\n{said.read()}"
    return status != 0


def _count(is_change, kill_before):
    count = 0

    def change(*_):
        nonlocal count
        count += 1
        if count == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda event, arguments: change() if is_change(event, arguments) else None)
    os.fsync = change  # between the bytes of a file and its name; and nothing here depends on a power cut


def _end_with(work):
    try:
        code = work() or 0
    except BaseException:  # noqa: BLE001  (shown by the exit code)
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)
