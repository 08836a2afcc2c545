"""How to go on from a registered model: load it, see whether it still fits the data, and slow its optimizer down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import ConfigError, WorkerFailed
from registry.records import Signature
from retraining.policy import RESPLIT
from training.data.spec import DataSpec
from training.loop.fit import Data
from training.model.contract import blame, registered
from training.model.model_file import load_model
from training.model.signature import wire

TENTH = 0.1
SHOWN = 10
FALLBACK_RATE = 1e-4
"""For a schedule that begins with zero."""


@dataclass(frozen=True, slots=True)
class OldModel:
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
        if not isinstance(self.original, float):  # in the place of a schedule only a schedule may stand
            rate = keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=1, decay_rate=1.0)
        model.optimizer.learning_rate = rate
        return model

    def settle(self, model: Any) -> None:
        """Put back the rate that the model was compiled with: else each retraining would learn ten times slower."""
        model.optimizer.learning_rate = self.original


def open_old_model(version: Path, code: Path, data: Data, rate: float) -> OldModel | str:
    """The model in a registered version's folder, or in words why it cannot be fine-tuned on these data.

    `code` is the code repository, whose registered layers the model may need; `rate` 0: a tenth of the compiled one.
    Raises Corrupt for a damaged file. A file that the scan refuses is not loaded, and that is the reason given.
    """
    made_for = codec.read(DataSpec, version / "data.json")
    if why := changed(codec.read(Signature, version / "signature.json"), made_for.split, data):
        return why
    file = version / "model.keras"
    try:
        model = load_model(file, registered(), compiled=True)
        if not getattr(model, "compiled", False):
            return "it was saved without an optimizer"
        with blame(code, "it cannot be run"):
            wire(model, data.spec, data.train, "the old model")
    except (ConfigError, WorkerFailed) as error:  # code or data that it needs have gone
        return str(error).splitlines()[0].replace(f"{file}: ", "")
    original = compiled_with(model)
    return OldModel(file, rate or TENTH * as_number(original), original)


def changed(old: Signature, split: str, data: Data) -> str:
    """How the data differ from those that the old model was made for, in words; empty when they do not.

    `split` is the rule by which those were split.
    """
    spec = data.spec
    if split != spec.split:
        return RESPLIT
    if old.task != spec.task:
        return f"it was made for {old.task}, the data are for {spec.task}"
    if old.classes != spec.classes:
        return f"the classes have changed ({_difference(old.classes, spec.classes) or 'another order'})"
    if old.target != spec.target:
        return f"it predicts {old.target!r}, the data ask for {spec.target!r}"
    if inputs := _difference([each.name for each in old.inputs], [each.name for each in data.train.inputs]):
        return f"the inputs have changed ({inputs})"
    return ""


def _difference(had: Sequence[str], have: Sequence[str]) -> str:
    new, gone = sorted(set(have) - set(had)), sorted(set(had) - set(have))
    return "; ".join(f"{word}: {', '.join(names[:SHOWN])}" for word, names in (("new", new), ("gone", gone)) if names)


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
