"""What every worker process shares: where it finds its job, how it reports progress, how it fails.

A worker runs in its job folder. It finds `job.json` (a record) and `inputs/<name>` there, writes files under
`outputs/`, and `result.json` (a record) last. When it fails it writes `error.json`, and the controller raises that
again as the typed error it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import BY_NAME, Corrupt, PipelineError, Rejected, TryAgain, WorkerFailed, from_os_error
from registry.files import write_whole
from registry.text import printable

EVENT = "@trainyard "
MAX_RESULT = 32 << 20  # bytes of `result.json`; parsing takes some 20 times as many
MAX_ERROR = 1 << 20  # bytes of `error.json`
OUT_OF_MEMORY = re.compile(
    r"MemoryError|bad_alloc|Cannot allocate memory|OOM when allocating|ResourceExhausted|RESOURCE_EXHAUSTED"
    r"|Unable to allocate|out of memory|failed to allocate memory"
)
MAX_TEXT = 8000  # characters of an error's message, and of its hint


def report_event(event: str, **fields: Any) -> None:
    """Report progress to the controller: one line on stdout, `@trainyard {"event": …}`.

    Known events: `attempt` (attempt, of), `epoch` (epoch, of, metric, value), `note` (text), `progress` (done, of, what),
    `quiet` (on): until it is off, lines are for the log only.
    """
    print(EVENT + json.dumps({"event": event, **fields}), flush=True)  # noqa: T201  (stdout is the channel)


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a worker's line, or None when it is plain log."""
    if not line.startswith(EVENT):
        return None
    try:
        event = json.loads(line[len(EVENT) :])
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def one_line(text: object) -> str:
    """Foreign text as it may reach a terminal: one printable line. What is not printable becomes spaces, so that
    words apart stay apart and columns stay where they were."""
    return printable(str(text), instead=" ")


def last_words(lines: Sequence[str], most: int = 40) -> list[str]:
    """The last `most` lines, without the stacks that Python prints after a crash in C: what was said before is the reason."""
    crash = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), len(lines))
    return list(lines[: crash + (crash == 0)][-most:])


def work(main: Callable[[Path], object]) -> int:
    """Run `main(folder)` in the current folder and keep its result, or its failure. Returns the exit code."""
    import traceback  # of the worker alone

    folder = Path.cwd()
    try:
        result = main(folder)
    except PipelineError as error:
        save_failure(folder, error)
        print(f"{error}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        known = from_os_error(error, folder)
        if not isinstance(known, TryAgain):
            traceback.print_exc()
            return 1
        with contextlib.suppress(OSError):  # there may be no space for this either: then the last line says it
            save_failure(folder, known)
        print(known, file=sys.stderr)  # noqa: T201
        return known.exit_code
    except MemoryError:
        hint = "raise [runner] memory_mb, or lower [training] batch_size"
        save_failure(folder, WorkerFailed("the worker ran out of memory", hint=hint))
        return WorkerFailed.exit_code
    except Exception:  # noqa: BLE001  (the entry point of the worker: a bug keeps its traceback)
        traceback.print_exc()
        return 1
    codec.save(result, folder / "result.json")
    return 0


def save_failure(folder: Path, error: PipelineError) -> None:
    """Write `error.json` for the controller, with the class that it knows."""
    kind = next(each.__name__ for each in type(error).__mro__ if each.__name__ in BY_NAME)
    body = {"error": kind, "message": str(error), "hint": error.hint}
    write_whole(folder / "error.json", json.dumps(body).encode())


def load_failure(folder: Path) -> PipelineError | None:
    """The typed error that the worker left in `folder`, its words on one line, or None.

    A worker reports failures. A verdict (Rejected) is not its to give: that counts as any failure.
    """
    path = folder / "error.json"
    try:
        raw = json.loads(read_foreign(path, MAX_ERROR))
        kind, message, hint = BY_NAME[raw["error"]], raw["message"], raw["hint"]
        if not isinstance(message, str) or not isinstance(hint, str):
            raise TypeError("its message and hint are not texts")
    except FileNotFoundError:
        return None
    except Corrupt as error:
        return error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return Corrupt(f"{path}: not a worker's error: {error!r:.200}")
    kind = WorkerFailed if kind is Rejected else kind
    return kind(one_line(message[:MAX_TEXT]), hint=one_line(hint[:MAX_TEXT]))


def read_foreign(path: Path, most: int) -> bytes:
    """The bytes of a file that foreign code may have written; raises FileNotFoundError, or Corrupt when that is a link,
    not a regular file, or larger than `most` bytes. Opens nothing that could block, and reads no more than that."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:  # ELOOP: a link; ENXIO: a socket
        raise Corrupt(
            f"{path}: cannot be read: {error.strerror}", hint="what ran in the worker has put it there"
        ) from None
    try:
        facts, data = os.fstat(fd), b""
        if not stat.S_ISREG(facts.st_mode):
            raise Corrupt(f"{path}: not a regular file", hint="what ran in the worker has put it there")
        if facts.st_size <= most:
            with open(fd, "rb", closefd=False) as file:
                data = file.read(most + 1)
    finally:
        os.close(fd)
    if facts.st_size > most or len(data) > most:
        raise Corrupt(f"{path}: {facts.st_size:,} bytes; {most:,} are allowed", hint="see what the worker writes")
    return data
