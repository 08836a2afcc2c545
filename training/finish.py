"""The end of every training: export, measure, and describe what came out, each file with its SHA-256."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from registry import codec
from registry.errors import ConfigError
from registry.files import sha256_file
from registry.records import TrainJob, TrainResult
from training.curves import draw_curves
from training.data.spec import DataSpec
from training.loop.attempts import BestAttempt
from training.loop.goal import measure, reached
from training.loop.history import HISTORY, History
from training.machine import describe
from training.model.contract import registered
from training.model.export import export
from training.model.keras_file import save_repeatably
from training.model.model_file import scan_model_file
from training.model.samples import Samples
from training.model.signature import Wiring

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert")
REQUIRED = re.compile(r"^[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
"""The name at the beginning of a line of `requirements.txt`."""
MOST = 100
KERAS_FILE = "model.keras"
SLACK = 0.02
"""For the rounding of a 16-bit model."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that is ready to leave, and how it came about."""

    wiring: Wiring
    how: Literal["trained", "fine-tuned", "command"]
    note: str
    attempt: int
    epochs: int
    history: History
    file: Path | None = None
    """The model file that a team's own script wrote; None: to be saved."""

    @classmethod
    def of(cls, best: BestAttempt, note: str) -> Trained:
        """The best of all attempts."""
        return cls(best.wiring, best.attempt.how, note, best.attempt.attempt, best.epochs, best.history)


def finish(job: TrainJob, trained: Trained, validation: Samples, folder: Path) -> TrainResult:
    """Fill `outputs/` and describe it. The exported endpoint's answers decide whether the threshold is reached."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    for left in outputs.iterdir():  # by a worker that was killed here; the folder itself may be a mount
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    exported = export(trained.wiring, validation, outputs, job.parity_command, _keep(trained, outputs))
    codec.save(exported.signature, outputs / "signature.json")
    _check_answers(trained.wiring.spec, exported.answers)
    values = measure(trained.wiring.spec.task, exported.answers, validation.y)
    return TrainResult(
        files={
            path.relative_to(outputs).as_posix(): sha256_file(path)
            for path in sorted(outputs.rglob("*"))
            if path.is_file()
        },
        signature=exported.signature,
        served=exported.served,
        how=trained.how,
        note=trained.note,
        attempt=trained.attempt,
        epochs=trained.epochs,
        seed=job.seed,
        validation=values,
        reached=reached(job.metric, values[job.metric], job.threshold),
        packages=packages(folder / "inputs" / "code"),
        machine=describe(),
    )


def _check_answers(spec: DataSpec, answers: Any) -> None:
    """Before it is trained, a model that answers with logits may pass for one that answers with probabilities."""
    if spec.task == "classification" and bool(((answers < -SLACK) | (answers > 1 + SLACK)).any()):
        raise ConfigError(
            "the trained model answers with numbers outside 0 to 1, not with probabilities",
            hint="end with a sigmoid or softmax, and compile with from_logits=False",
        )


def packages(code: Path) -> dict[str, str]:
    """The versions that a model may depend on: TensorFlow and the like, and what the `requirements.txt` of the code names."""
    found = {"python": platform.python_version()}
    wanted = code / "requirements.txt"
    own = REQUIRED.findall(wanted.read_text(encoding="utf-8", errors="replace")) if wanted.is_file() else []
    for name in (*PACKAGES, *own[:MOST]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # tensorflow or tensorflow-cpu
            continue
    return found


def _keep(trained: Trained, outputs: Path) -> Callable[[], None]:
    def keep() -> None:
        if trained.file:
            shutil.copyfile(trained.file, outputs / KERAS_FILE)
        else:
            save_repeatably(trained.wiring.model, outputs / KERAS_FILE)
            scan_model_file(outputs / KERAS_FILE, registered())
        codec.save(trained.history, outputs / HISTORY)
        if trained.history.rounds:
            draw_curves(trained.history, outputs / "curves.png")

    return keep
