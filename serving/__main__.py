"""`python -P -m serving`: the prediction API, in a folder with `job.json` (ServeJob)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from registry.errors import PipelineError
from serving.server.program import run
from training.worker.protocol import save_failure


def main() -> int:
    """Serve until stopped; 2 when a person must change something first."""
    try:
        run(Path.cwd(), os.environ)
    except PipelineError as error:
        return report(Path.cwd(), error)
    return 0


def report(folder: Path, error: PipelineError) -> int:
    """Leave the error to who has started the API in `folder`, and write it; gives the exit code."""
    save_failure(folder, error)
    sys.stderr.write(f"{error}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
