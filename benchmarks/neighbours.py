"""Other people's tools, each in an environment of its own under build/neighbours, so that nobody's pins disturb ours.

Made on demand (`bench.py --neighbours`) and kept. Versions are pinned: a figure is about that release.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rows import Skipped

FOLDER = Path(__file__).resolve().parents[1] / "build" / "neighbours"
PINNED = {
    "dvc": ("dvc==3.67.1",),
    "dvc-s3": ("dvc[s3]==3.67.1",),
    "kedro": ("kedro==1.7.0",),
    "metaflow": ("metaflow==2.19.39",),
    "mlflow": ("mlflow==3.17.2",),
    "mlflow-batch": ("mlflow==3.17.2", "ai-edge-litert==2.3.0"),
    "mlflow-serving": ("mlflow==3.17.2", "tensorflow-cpu==2.21.0", "keras==3.15.1"),
    "mlflow-forest": ("mlflow==3.17.2", "scikit-learn==1.9.1"),
    "evidently": ("evidently==0.7.23", "pandas<3"),  # with the pandas that pip would take, its import fails
    "nannyml": ("nannyml==0.13.1", "statsmodels"),  # which its import needs, and its package does not ask for
    "river": ("river==0.26.1",),
    "bentoml-serving": ("bentoml==1.4.38", "tensorflow-cpu==2.21.0", "keras==3.15.1"),
}
# None of them shall call home, or wait for an answer, while it is measured.
QUIET = {"DVC_NO_ANALYTICS": "1", "KEDRO_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True",
         "NML_DISABLE_USAGE_LOGGING": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}  # fmt: skip


def environment(name: str) -> Path:
    """The Python in which that tool is installed, bytecode compiled. Raises Skipped when it cannot be installed."""
    python = FOLDER / name / "bin" / "python"
    pins = "\n".join(PINNED[name])
    done = FOLDER / name / "pins.txt"
    if done.exists() and done.read_text(encoding="utf-8") == pins:
        return python
    print(f"installing {', '.join(PINNED[name])} in {FOLDER / name} …", file=sys.stderr, flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(FOLDER / name)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED[name]],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise Skipped(f"{name} could not be installed: {(ended.stderr.splitlines() or ['?'])[-1]}")
    done.write_text(pins, encoding="utf-8")
    return python


def quiet() -> dict[str, str]:
    """Our environment, with telemetry off for all of them."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRAINYARD_", "GIT_", "PYTHON"))}
    return kept | QUIET
