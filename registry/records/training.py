"""What goes into a training worker, and what comes out."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from registry.dataclass import dataclass
from registry.records.data import Signature


@dataclass(frozen=True, slots=True)
class OnnxWiring:
    """How the inputs go into an ONNX file that a team has made, and which of its outputs are the answers."""

    output: str
    """The output of the file with the probabilities, or with the number."""
    classes: tuple[int, ...] = ()
    """Of each class, in the order of the signature, its column in that output; -1: what the only column leaves of 1.
    Empty for regression."""
    columns: str = ""
    """The input of the file that takes all inputs side by side; empty: each goes into the input that its `tensor_name` says."""


@dataclass(frozen=True, slots=True)
class Served:
    """Which file answers requests, through which engine, and why this one."""

    engine: Literal["litert", "saved_model", "onnx"]
    path: str
    """`model.tflite`, `saved_model` or `model.onnx`, relative to the version's folder."""
    reason: str
    batches: tuple[int, ...] = ()
    """Batch sizes with a signature of their own (`batch_1`, `batch_8`); empty: any batch size."""
    onnx: OnnxWiring | None = None
    """For the engine `onnx` only."""


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What goes into a training worker. Its folder holds `inputs/code`, `inputs/train`, `inputs/validation`
    and, for retraining, `inputs/model` (a registered version's files)."""

    model: str
    seed: int
    epochs: int
    batch_size: int
    max_attempts: int
    patience: int
    metric: str
    """The gate's metric, measured on the validation split."""
    threshold: float
    command: tuple[str, ...] = ()
    """A team's own script instead of `model.py`."""
    rehearsal_seconds: float = 0.0
    """How long a script's rehearsal may take; 0: it is not rehearsed."""
    parity_command: tuple[str, ...] = ()
    """Checks the converted file in a process without TensorFlow; see `training.model.export`."""
    retrain_epochs: int = 0
    learning_rate: float = 0.0
    """For fine-tuning; 0: a tenth of the rate that the model was compiled with."""
    deterministic: bool = True
    """The same job on the same machine gives the same weights, where TensorFlow can: see `training.job.be_repeatable`."""
    threads: int = 0
    """Threads of TensorFlow within one operator, which add up numbers in an order that depends on how many there are;
    0: as many as there are cores."""
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the metric `cost`: truth → answer → cost."""
    must_report: tuple[str, ...] = ()
    """The numbers of a script that the gate's rules name."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What comes out of a training worker: files under `outputs/`, each with its SHA-256."""

    files: dict[str, str]
    signature: Signature
    served: Served
    how: Literal["trained", "fine-tuned", "command"]
    note: str
    """Why it was done this way, for the mail and the manifest."""
    attempt: int
    epochs: int
    seed: int
    validation: dict[str, float]
    reached: bool
    """Whether the threshold was reached on the validation split."""
    packages: dict[str, str]
    machine: dict[str, str] = field(default_factory=dict)
    """What else the weights may depend on: processor, its vector instructions, threads, the code of Trainyard; see
    `training.machine`."""
    reported: dict[str, float] = field(default_factory=dict)
    """What a script of the team's says of its model; see `training.reported`."""
