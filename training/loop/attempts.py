"""Attempt after attempt until one is good enough: on the validation split, never on the holdout."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from registry.errors import WorkerFailed
from training.loop.checkpoints import Checkpoints, restore, variables
from training.loop.feed import Order
from training.loop.fit import Attempt, Data, Diverged, Goal, Keeper, fit
from training.loop.goal import beats, best_index, reached
from training.loop.history import AttemptHistory, Best, History, Progress
from training.model.contract import Contract, blame, build, registered
from training.model.model_file import check_saveable
from training.model.signature import Wiring, wire
from training.worker.protocol import report_event


@dataclass(frozen=True, slots=True)
class BestAttempt:
    """The best model of all attempts, with its best weights."""

    wiring: Wiring
    history: History
    attempt: AttemptHistory
    epochs: int
    """The epoch whose weights these are, from 1."""


def fingerprint(model: Any) -> str:
    """SHA-256 of a compiled model with its weights, whatever numbers Keras has given its layers."""
    text = json.dumps(keras.saving.serialize_keras_object(model), sort_keys=True, default=str)
    digest = hashlib.sha256(re.sub(r'_\d+"', '"', text).encode())
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()


def attempts_from_scratch(contract: Contract, data: Data, epochs: int, attempts: int) -> list[Attempt]:
    """Attempts 0, 1, 2, …, each from scratch."""

    def start(number: int) -> Callable[[], Any]:
        return lambda: build(contract, data.spec, number)

    return [Attempt("trained", each, epochs, start(each), contract.fit) for each in range(max(1, attempts))]


class AttemptLoop:
    """Makes one attempt after the other, from the last checkpoint of this job on."""

    def __init__(self, contract: Contract, data: Data, goal: Goal, checkpoints: Checkpoints, job: str) -> None:
        self.contract, self.data, self.goal, self.checkpoints = contract, data, goal, checkpoints
        fresh = Progress(job, History(goal.metric, goal.threshold, goal.seed))
        self.progress = checkpoints.load(job) or fresh
        if self.progress is fresh and checkpoints.found:
            report_event(
                "note",
                text="the checkpoints of an earlier try are not used, as they are damaged or of other code, settings or "
                "another version of Trainyard or Keras: training starts from the first epoch",
            )
        self.weights: list[Any] = checkpoints.read(self.progress.best.file) if self.progress.best else []

    def run(self, attempts: Sequence[Attempt]) -> BestAttempt:
        """Raises WorkerFailed when no attempt gives a number."""
        wiring: Wiring | None = None
        last = -1
        for i in range(len(attempts)):
            report_event("attempt", attempt=i + 1, of=len(attempts))
            if not self._finished(i):
                wiring, last = self._run(i, attempts), i
            if self._reached(i):
                break
        best = self.progress.best
        if best is None:
            raise WorkerFailed(
                f"{self.goal.metric} on the validation split was never a number",
                hint="look for NaN in the model's answers: scale the inputs inside the model, lower the learning rate",
            )
        if wiring is None or best.round != last:
            wiring = self._start(attempts[best.round])
        wiring.model.set_weights(self.weights)
        attempts[best.round].settle(wiring.model)
        history = self.progress.history
        return BestAttempt(wiring, history, history.rounds[best.round], best.epoch)

    def _run(self, i: int, attempts: Sequence[Attempt]) -> Wiring | None:
        attempt = attempts[i]
        wiring = self._start(attempt)
        history = self._resume(i, attempt, wiring)
        if not history.epochs and self._repeats(i, attempts, wiring):
            return wiring
        seen = Keeper(
            self.goal,
            Order(len(self.data.train), self.goal.seed, i),
            attempt.epochs,
            history,
            lambda history: self._keep(i, history, wiring.model),
        )
        try:
            history = fit(attempt, wiring, self.data, self.contract, seen)
        except Diverged as error:
            if not attempt.optional:
                raise WorkerFailed(str(error), hint=error.hint) from error
            history = replace(seen.history, finished=True, failed=str(error))
            report_event("note", text=history.failed)
        self._note(history, i, state="")
        return wiring

    def _repeats(self, i: int, attempts: Sequence[Attempt], wiring: Wiring) -> bool:
        """Whether attempt `i` would train the model of the attempt before it once more: then it is over, with a note.

        A team's own loop may know more about the attempts than the model shows, and is left to it.
        """
        attempt, before = attempts[i], attempts[i - 1] if i else None
        if before is None or attempt.hook or before.how != attempt.how:
            return False
        if fingerprint(self._start(before).model) != fingerprint(wiring.model):
            return False
        why = f"attempt {attempt.number + 1} would train the same model again, as build_model does not use `attempt`"
        report_event("note", text=f"{why}: it is trained once")
        history = AttemptHistory(attempt.how, attempt.number, wiring.model.count_params(), finished=True, failed=why)
        self._note(history, i, state="")
        return True

    def _start(self, attempt: Attempt) -> Wiring:
        keras.utils.set_random_seed(self.goal.seed)
        model = attempt.start()
        origin = "model.py" if attempt.how == "trained" else "the registered model"
        with blame(self.contract.code, "the model could not be run"):
            wiring = wire(model, self.data.spec, self.data.train, origin)
        check_saveable(model, origin, registered())
        return wiring

    def _resume(self, i: int, attempt: Attempt, wiring: Wiring) -> AttemptHistory:
        """The history of attempt `i` as far as it came before, its last state put into the model; else an empty one."""
        past = self.progress.history.rounds
        fresh = AttemptHistory(attempt.how, attempt.number, parameters=wiring.model.count_params())
        if len(past) <= i:
            return fresh
        if not self.progress.state or not restore(variables(wiring.model), self.checkpoints.read(self.progress.state)):
            if self.progress.best and self.progress.best.round == i:
                self.progress = replace(self.progress, best=None)
            return fresh
        report_event("note", text=f"resumes after epoch {len(past[i].epochs)}")
        return past[i]

    def _keep(self, i: int, history: AttemptHistory, model: Any) -> None:
        """The checkpoint after one epoch."""
        epoch = len(history.epochs)
        state = self.checkpoints.write(f"state-{i}-{epoch}.npz", [each.numpy() for each in variables(model)])
        if self._beats(i, history.epochs[-1]):
            self.weights = model.get_weights()
            file = self.checkpoints.write(f"best-{i}-{epoch}.npz", self.weights)
            self.progress = replace(self.progress, best=Best(i, epoch, history.values[-1], file))
        self._note(history, i, state)

    def _note(self, history: AttemptHistory, i: int, state: str) -> None:
        attempts = (*self.progress.history.rounds[:i], history)
        self.progress = replace(self.progress, history=replace(self.progress.history, rounds=attempts), state=state)
        self.checkpoints.save(self.progress)

    def _beats(self, i: int, epoch: Mapping[str, float]) -> bool:
        """Whether an epoch of attempt `i` is better than all before it; among attempts the first of equal ones counts, as it
        is the smaller model."""
        best = self.progress.best
        if math.isnan(epoch["value"]) or best is None:
            return not math.isnan(epoch["value"])
        known = (
            self.progress.history.rounds[best.round].epochs[best.epoch - 1]
            if best.round == i
            else {"value": best.value}
        )
        return beats(self.goal.metric, epoch, known)

    def _finished(self, i: int) -> bool:
        past = self.progress.history.rounds
        return i < len(past) and past[i].finished

    def _reached(self, i: int) -> bool:
        history = self.progress.history.rounds[i]
        best = best_index(self.goal.metric, history.values)
        return best >= 0 and not history.failed and reached(self.goal.metric, history.values[best], self.goal.threshold)
