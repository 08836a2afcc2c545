"""Fine-tuning a registered model: load it, check whether it still fits the data, and slow its optimizer down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import ConfigError, WorkerFailed
from registry.records import Signature
from retraining.policy import NO_KERAS, obstacle
from training.command import KERAS_FILE
from training.data.spec import DataSpec
from training.loop.fit import Data
from training.model.contract import blame, registered
from training.model.model_file import load_model
from training.model.signature import wire

TENTH = 0.1
FALLBACK_RATE = 1e-4
"""For a schedule that begins with zero."""


class CannotFineTune(Exception):
    """The registered model does not fit the new data or the new code; the message says why."""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered version that can be fine-tuned on the new data."""

    file: Path
    rate: float
    """The learning rate to fine-tune with."""
    original: Any
    """The rate, or the schedule, that the model was compiled with."""

    def start(self) -> Any:
        """The model with its registered weights and the lower rate."""
        import keras

        model, rate = load_model(self.file, registered(), compiled=True), self.rate
        if not isinstance(self.original, float):  # only a schedule can replace a schedule
            rate = keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=1, decay_rate=1.0)
        model.optimizer.learning_rate = rate
        return model

    def settle(self, model: Any) -> None:
        """Put back the rate that the model was compiled with: else each retraining would learn ten times slower."""
        model.optimizer.learning_rate = self.original


def open_registered(version: Path, code: Path, data: Data, rate: float) -> RegisteredModel:
    """The model in a registered version's folder, ready to be fine-tuned on these data.

    `code` is the code repository, whose registered layers the model may need; `rate` 0: a tenth of the compiled one.
    Raises CannotFineTune, also for a file that the scan refuses, which is not loaded; Corrupt for a damaged file.
    """
    made_for = codec.read(DataSpec, version / "data.json")
    old, names = codec.read(Signature, version / "signature.json"), [each.name for each in data.train.inputs]
    if why := obstacle(old, made_for.split, data.spec, names):
        raise CannotFineTune(why)
    file = version / KERAS_FILE
    if not file.exists():
        raise CannotFineTune(NO_KERAS)
    try:
        model = load_model(file, registered(), compiled=True)
        if not getattr(model, "compiled", False):
            raise CannotFineTune("it was saved without an optimizer")
        with blame(code, "it cannot be run"):
            wire(model, data.spec, data.train, "the registered model")
    except (ConfigError, WorkerFailed) as error:  # code or data that it needs have gone
        raise CannotFineTune(str(error).splitlines()[0].replace(f"{file}: ", "")) from error
    original = compiled_with(model)
    return RegisteredModel(file, rate or TENTH * as_number(original), original)


def compiled_with(model: Any) -> Any:
    """The learning rate that the model was compiled with: a float, or a Keras schedule."""
    import keras

    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of a 16-bit model
    rate = getattr(optimizer, "_learning_rate", None)
    schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    return rate if schedule else float(model.optimizer.learning_rate)


def as_number(rate: Any) -> float:
    """The rate itself; of a schedule, the one that it is named after."""
    if isinstance(rate, float):
        return rate
    config = rate.get_config()
    for name in ("warmup_target", "initial_learning_rate"):
        if isinstance(config.get(name), (int, float)) and config[name] > 0:
            return float(config[name])
    return float(rate(0)) or FALLBACK_RATE
