"""The end of every training: export, measure, and describe what came out, each file with its SHA-256."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from registry import codec
from registry.errors import ConfigError
from registry.records import TrainJob, TrainResult
from training.anomaly import threshold_of
from training.curves import draw_curves
from training.data.spec import DataSpec
from training.loop.attempts import BestAttempt
from training.loop.fit import Data
from training.loop.goal import measure
from training.loop.history import HISTORY, History
from training.metrics import Wanted
from training.model.contract import registered
from training.model.export import export
from training.model.keras_file import save_repeatably
from training.model.model_file import scan_model_file
from training.model.signature import Wiring, answers, asking
from training.multi_label import END_OF_LABELS, exclusive
from training.outcome import Made, describe_result, empty_outputs

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


def finish(job: TrainJob, trained: Trained, data: Data, folder: Path) -> TrainResult:
    """Fill `outputs/` and describe it. The exported endpoint's answers decide whether the threshold is reached."""
    outputs, validation = empty_outputs(folder), data.validation
    exported = export(trained.wiring, validation, outputs, job.parity_command, _keep(trained, outputs))
    spec = trained.wiring.spec
    _check_answers(spec, exported.answers, validation.y)
    if spec.task == "anomaly":
        scores = answers(asking(trained.wiring), trained.wiring, data.train)
        spec = replace(spec, threshold=threshold_of(scores, spec.quantile))
    wanted = Wanted((job.metric,), job.costs, targets=spec.targets)
    values = measure(spec.task, exported.answers, validation.y, wanted, spec.classes, spec.threshold)
    made = Made(trained.how, trained.note, trained.attempt, trained.epochs)
    signature = replace(exported.signature, threshold=spec.threshold).with_dates(spec.dates)
    return describe_result(job, folder, made, signature, exported.served, values)


def _check_answers(spec: DataSpec, answers: Any, y: Any) -> None:
    """Before it is trained, a model that answers with logits may pass for one that answers with probabilities."""
    if spec.task in {"classification", "multi-label"} and bool(((answers < -SLACK) | (answers > 1 + SLACK)).any()):
        end = "a sigmoid" if spec.task == "multi-label" else "a sigmoid or softmax"
        raise ConfigError(
            "the trained model answers with numbers outside 0 to 1, not with probabilities",
            hint=f"end with {end}, and compile with from_logits=False",
        )
    if spec.task == "multi-label" and (why := exclusive(answers, y)):
        raise ConfigError(f"the trained model {why}", hint=END_OF_LABELS)


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
