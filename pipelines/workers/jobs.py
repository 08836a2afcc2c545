"""What goes into the workers of this room. Light: the controller writes these jobs."""

from __future__ import annotations

from dataclasses import dataclass

from registry.records import Served, Signature


@dataclass(frozen=True, slots=True)
class Subject:
    """One model to be measured; its files are in the input of that name."""

    signature: Signature
    served: Served
    files: dict[str, str]
    """Name → SHA-256, as its TrainResult or card has them. What is served is hashed again before it is measured."""
    version: int | None = None
    """Null for a candidate that is not registered yet."""
    other_code: bool = False
    """It was made from another commit of the code than the one whose `load_data` reads the holdout."""


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """What goes into `pipelines.workers.evaluate`; comes out as Evaluation.

    Inputs: `holdout` (prepared split), `candidate` (its files), `live` (the live version's files, with `live` below),
    and `code` (a code repository, whose `model.py` may define `load_data`) if there is one.
    """

    metric: str
    """The gate's metric: candidate and live release are compared in it."""
    candidate: Subject
    live: Subject | None = None
    seed: int = 1
    """For the bootstrap of the comparison."""
