"""What every worker process shares: where it finds its job, how it tells progress, how it fails.

A worker runs in its job folder. It finds `job.json` (a noun) and `inputs/<name>` there, writes files under
`outputs/`, and `result.json` (a noun) last. When it fails it writes `error.json`, and the controller raises that
again as the typed error it was.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import BY_NAME, Corrupt, PipelineError, WorkerFailed
from registry.files import write_whole

EVENT = "@trainyard "


def tell(event: str, **fields: Any) -> None:
    """Tell the controller about progress: one line on stdout, `@trainyard {"event": …}`.

    Known events: `attempt` (attempt, of), `epoch` (epoch, of, metric, value), `note` (text), `progress` (done, of, what).
    """
    print(EVENT + json.dumps({"event": event, **fields}), flush=True)  # noqa: T201  (stdout is the channel)


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a worker's line, or None when it is plain log."""
    if not line.startswith(EVENT):
        return None
    try:
        event = json.loads(line[len(EVENT) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def one_line(text: object) -> str:
    """Foreign words as they may reach a terminal: on one line, without control characters and marks of direction."""
    return "".join(each if each.isprintable() else " " for each in str(text))


def work(main: Callable[[Path], object]) -> int:
    """Run `main(folder)` in the current folder and keep its result, or its failure. Returns the exit code."""
    folder = Path.cwd()
    try:
        result = main(folder)
    except PipelineError as error:
        save_failure(folder, error)
        print(f"{error}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201
        return error.exit_code
    except MemoryError:
        hint = "raise [runner] memory_mb, or lower [training] batch_size"
        save_failure(folder, WorkerFailed("the worker ran out of memory", hint=hint))
        return WorkerFailed.exit_code
    except Exception:  # noqa: BLE001  (the door of the worker: a bug keeps its traceback)
        traceback.print_exc()
        return 1
    codec.save(result, folder / "result.json")
    return 0


def save_failure(folder: Path, error: PipelineError) -> None:
    """Write `error.json` for the controller."""
    body = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
    write_whole(folder / "error.json", json.dumps(body).encode())


def load_failure(folder: Path) -> PipelineError | None:
    """The typed error that the worker left in `folder`, its words on one line, or None."""
    try:
        raw = json.loads((folder / "error.json").read_bytes())
        return BY_NAME[raw["error"]](one_line(raw["message"]), hint=one_line(raw["hint"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        return Corrupt(f"{folder / 'error.json'}: not a worker's error: {error!r}")
