"""One attempt: train one model, keep its best weights, stop when it gets no better, and lose at most one epoch to a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from registry.errors import WorkerFailed
from registry.records import Task
from training.data.spec import DataSpec
from training.loop.feed import Order, training_batches, validation_batches
from training.loop.goal import best_index, from_logs, measure
from training.loop.history import AttemptHistory, How
from training.metrics import NOTHING, Wanted
from training.model.contract import Contract, blame
from training.model.samples import Samples
from training.model.signature import Wiring, answers, asking
from training.worker.protocol import report_event


class Diverged(WorkerFailed):
    """The loss became NaN or infinite: nothing can be learned any more."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What an attempt aims at, and when it gives up."""

    task: Task
    metric: str
    threshold: float
    patience: int
    seed: int
    batch_size: int
    wanted: Wanted = NOTHING
    """The metric, with what else it is measured by."""


@dataclass(frozen=True, slots=True)
class Data:
    """What an attempt learns from, and is measured on."""

    spec: DataSpec
    train: Samples
    validation: Samples


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: where its model comes from and how it is trained."""

    how: How
    number: int
    """What `build_model` gets, from 0."""
    epochs: int
    start: Callable[[], Any]
    """Gives the compiled model with its first weights."""
    hook: Callable[..., Any] | None = None
    """The team's own loop."""
    settle: Callable[[Any], None] = lambda _: None
    """Undoes to the trained model what was meant for the training alone."""
    optional: bool = False
    """When it diverges, the next attempt may do better."""


LABEL_LOSS = "the loss is {loss}, for one class per sample; y is a row of {labels} numbers, 0 or 1: compile with binary_crossentropy"
SCORE_LOSS = "y is 0 for every sample: compile with mae, which makes the mean score small"
FIT_HINT = "the error names the layer, loss, metric or callback that fails: correct it in the code repository"

OnEpoch = Callable[[AttemptHistory], None]
"""Called after each epoch with the attempt's history so far."""


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Measures, records, keeps and stops. It counts the epochs itself: a team's own loop may call fit more than once."""

    def __init__(self, goal: Goal, order: Order, of: int, history: AttemptHistory, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.goal, self.order, self.of, self.history, self.on_epoch_done = goal, order, of, history, on_epoch
        self.measure: Callable[[], float] = lambda: math.nan
        self.trusts_keras = True
        """Whether what Keras has measured is what the gate means by the metric."""
        self.began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self.order.epoch = len(self.history.epochs)  # for a team's own loop, which may call fit more than once
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch
        self.record({name: float(np.mean(value)) for name, value in (logs or {}).items()})
        if self.should_stop:
            self.model.stop_training = True

    def record(self, logs: dict[str, float]) -> None:
        """One epoch is over. Raises Diverged when the loss became NaN or infinite."""
        number = len(self.history.epochs) + 1
        if not math.isfinite(logs.get("loss", 0.0)):
            raise Diverged(
                f"the loss became {logs['loss']} in epoch {number} of attempt {self.history.attempt + 1}",
                hint="lower the learning rate in model.compile, scale the inputs inside the model, or look for NaN and "
                "huge values in the data",
            )
        value = from_logs(self.goal.metric, self.goal.task, logs) if self.trusts_keras else None
        if value is None:
            value = self.measure()
        seconds = round(time.monotonic() - self.began, 3)
        epoch = {**logs, "value": value, "seconds": seconds}
        self.history = replace(self.history, epochs=(*self.history.epochs, epoch))
        self.on_epoch_done(self.history)  # first: an epoch that was reported is an epoch that is kept
        report_event("epoch", epoch=number, of=max(number, self.of), metric=self.goal.metric, value=value)

    @property
    def should_stop(self) -> bool:
        """Whether there was no better epoch for as long as patience lasts."""
        done = len(self.history.epochs)
        best = best_index(self.goal.metric, self.history.values)
        return done > 0 and done - 1 - best >= max(1, self.goal.patience)


def fit(attempt: Attempt, wiring: Wiring, data: Data, contract: Contract, keeper: Keeper) -> AttemptHistory:
    """Train the wired model to the end of the attempt, from the end of the keeper's history on.

    Raises WorkerFailed for errors of the team's code or model, and Diverged for a loss that became NaN or infinite.
    """
    keeper.order.epoch = done = len(keeper.history.epochs)
    if done >= attempt.epochs or keeper.should_stop:
        return replace(keeper.history, finished=True)
    model, goal = wiring.model, keeper.goal
    keeper.set_model(model)
    keeper.measure = _own_measure(wiring, data.validation, goal)
    keeper.trusts_keras = not (data.spec.targets and goal.metric == "rmse")  # its root is that of all targets' errors
    prepare, costly = _prepare(wiring, contract.augment), contract.augment is not None
    with blame(contract.code, "model.py: augment failed" if costly else "the data could not be fed"):
        train, steps = training_batches(
            data.train, keeper.order, goal.batch_size, prepare, costly=costly, endless=not attempt.hook
        )
    validation, validation_steps = validation_batches(data.validation, goal.batch_size, _prepare(wiring, None))
    if attempt.hook:
        with blame(contract.code, f"model.py: {getattr(attempt.hook, '__name__', 'the hook')} failed"):
            attempt.hook(model, train, validation, epochs=attempt.epochs - done, callbacks=[keeper])
        if len(keeper.history.epochs) == done:  # it did not use the callbacks
            keeper.record({})
    else:
        with blame(contract.code, "model.py: the model could not be trained", _hint(model, data.spec)):
            model.fit(
                train,
                steps_per_epoch=steps,
                validation_data=validation.repeat(),
                validation_steps=validation_steps,
                epochs=attempt.epochs,
                initial_epoch=done,
                callbacks=[keeper],
                shuffle=False,  # it is, by `Order`
                verbose=0,
            )
    return replace(keeper.history, finished=True)


def _hint(model: Any, spec: DataSpec) -> str:
    """About the labels only where the loss does not suit them: whatever else fails has another reason."""
    loss = loss_name(model)
    if spec.task == "regression":
        wrong, numbers = "crossentropy" in loss, f"{len(spec.targets)} numbers" if spec.targets else "one number"
        return f"y is {numbers} per sample: compile with mse, mae or huber" if wrong else FIT_HINT
    if spec.task == "anomaly":
        return SCORE_LOSS if "crossentropy" in loss else FIT_HINT
    if spec.task == "multi-label":
        wrong = "categorical" in loss
        return LABEL_LOSS.format(loss=loss, labels=len(spec.classes)) if wrong else FIT_HINT
    single = "sparse" in loss or (len(spec.classes) == 2 and loss.startswith("binary"))
    if loss and not single:
        return (
            f"the loss is {loss}; y is a class index, 0 to {len(spec.classes) - 1}, not one-hot: compile with "
            "sparse_categorical_crossentropy, or let the loss make it one-hot"
        )
    return FIT_HINT


def loss_name(model: Any) -> str:
    """What the model was compiled with, e.g. `categorical_crossentropy`; empty for none or several losses."""
    loss = getattr(model, "loss", None)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None) or getattr(loss, "name", None)
    return name if isinstance(name, str) else ""


def _prepare(wiring: Wiring, augment: Callable[..., Any] | None) -> Callable[[Any, Any], Any]:
    only = wiring.inputs[0].name if len(wiring.inputs) == 1 else ""

    def prepare(named: Any, y: Any) -> Any:
        named = wiring.cast(named)
        if augment:
            x, y = augment(named[only] if only else named, y)
            named = {only: x} if only else x
        return wiring.arrange(named), y

    return prepare


def _own_measure(wiring: Wiring, samples: Samples, goal: Goal) -> Callable[[], float]:
    """Measures what Keras does not, by one more pass over the validation split."""
    answer, spec = asking(wiring), wiring.spec

    def found() -> float:
        given = answers(answer, wiring, samples)
        return measure(spec.task, given, samples.y, goal.wanted, spec.classes, spec.threshold)[goal.metric]

    return found
