"""What a demo has for itself: a folder, and a port."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from registry.errors import ConfigError, TryAgain
from registry.files import try_lock

MARK = ".trainyard-demo"
"""Only a folder that holds this is ever cleared; the demo that is being played has it locked."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have the folder, and have it alone; raises ConfigError when it is not a demo's, TryAgain while a demo is played in it."""
    mark = folder / MARK
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise ConfigError(f"{folder} is not an earlier demo's", hint="choose another with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    with mark.open("a", encoding="ascii") as lock:
        if not try_lock(lock):
            raise TryAgain(
                f"{folder}: a demo is being played there",
                hint="wait for its end, or end it with Ctrl-C; --folder plays another one beside it",
            )
        yield


def clear(folder: Path) -> None:
    """Remove all that is in it but the mark."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        elif each.name != MARK:
            each.unlink()


class Port:
    """Where a demo's API will listen: the wanted port, unless another program listens there, or another demo is about to."""

    def __init__(self, wanted: int) -> None:
        self.number = wanted
        self._mark = socket.socket(socket.AF_UNIX)  # the kernel removes its name with this process
        try:
            self._mark.bind(f"\0trainyard-demo-{wanted}")
            _try_port(wanted)
        except OSError:
            self.number = _try_port(0)

    def close(self) -> None:
        """Let others have it."""
        self._mark.close()


def _try_port(number: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", number))
        return int(probe.getsockname()[1])
