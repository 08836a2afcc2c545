"""The jobs of the workers in this package. Light: the controller writes them."""

from __future__ import annotations

from dataclasses import dataclass

from registry.records import Served, Signature


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model to be measured; its files are in the input `candidate` or `live`."""

    signature: Signature
    served: Served
    files: dict[str, str]
    """Name → SHA-256, as its TrainResult or manifest has them. What is served is hashed again before it is measured."""
    version: int | None = None
    """Null for a candidate that is not registered yet."""
    other_code: bool = False
    """It was made from another commit of the code than the one whose `load_data` reads the holdout."""


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """The job of `pipelines.workers.evaluate`; its result is an Evaluation.

    Inputs: `holdout` (prepared split), `candidate` (its files), `live` (the live version's files, with `live` below),
    and `code` (a code repository, whose `model.py` may define `load_data`) if there is one.
    """

    metric: str
    """The gate's metric, by which candidate and live release are compared."""
    candidate: MeasuredModel
    live: MeasuredModel | None = None
    seed: int = 1
    """For the bootstrap of the comparison."""


@dataclass(frozen=True, slots=True)
class CompareJob:
    """The job of `pipelines.workers.differences`; its result is a Differences.

    Inputs: `holdout` (prepared split), `then` and `again` (the files of both models), and `code` if there is one.
    """

    then: MeasuredModel
    again: MeasuredModel


@dataclass(frozen=True, slots=True)
class Differences:
    """Between two models that should be the same. Null: it could not be measured; `notes` says why."""

    weights: float | None
    """The largest absolute difference of two weights."""
    predictions: float | None
    """The largest absolute difference of two numbers that they predict for a sample of the holdout."""
    samples: int
    then: dict[str, float]
    """The metrics of the one on the holdout, and of the other."""
    again: dict[str, float]
    notes: tuple[str, ...] = ()
