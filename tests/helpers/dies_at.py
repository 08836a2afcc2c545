"""`trainyard`, in a process that kills itself: python -P dies_at.py EVENT PATH ARGUMENTS…

It dies with SIGKILL just before it does EVENT, an audit event of Python (`os.rename`, `os.link`, `open`, …), to a path that
ends with PATH. EVENT `after:os.rename` dies at the next thing it does to a file once that has been done.
"""

import os
import signal
import sys

from pipelines.__main__ import main

FILES = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.listdir", "os.scandir"}


def hook(event: str, path: str):
    """An audit hook that kills this process."""
    event, wait = event.removeprefix("after:"), event.startswith("after:")
    seen = False

    def look(what, arguments):
        nonlocal seen
        if seen and what in FILES:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == event and any(
            isinstance(each, (str, os.PathLike)) and str(each).endswith(path) for each in arguments[:2]
        ):
            if not wait:
                os.kill(os.getpid(), signal.SIGKILL)
            seen = True

    return look


if __name__ == "__main__":
    sys.addaudithook(hook(*sys.argv[1:3]))
    sys.exit(main(sys.argv[3:]))
