"""What a training has gone through, epoch by epoch. Light: the controller reads it, too."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from registry.dataclass import dataclass
from registry.records import utc_now

How = Literal["trained", "fine-tuned"]
PROGRESS = "progress.json"
"""In `checkpoints/`: the Progress of a training that is under way, or has failed."""
HISTORY = "history.json"
"""In `outputs/`: the History of one that has come to its end."""


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """One attempt: what Keras reported for each epoch, with `value` (the gate's metric on the validation split) and
    `seconds`."""

    how: How
    attempt: int
    parameters: int = 0
    epochs: tuple[dict[str, float], ...] = ()
    finished: bool = False
    failed: str = ""
    """Why it ended without a result, when the training could continue without it."""

    @property
    def values(self) -> list[float]:
        """The gate's metric by epoch."""
        return [each["value"] for each in self.epochs]


@dataclass(frozen=True, slots=True)
class History:
    """All attempts of one training, in order."""

    metric: str
    threshold: float
    seed: int
    rounds: tuple[AttemptHistory, ...] = ()
    """The attempts; the name is the one that files of older versions have."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best weights of all attempts."""

    round: int
    """The index of the attempt."""
    epoch: int
    value: float
    file: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the training has come. The last attempt of `history` is under way unless it is finished."""

    job: str
    """SHA-256 of the job."""
    history: History
    state: str = ""
    """The file with the last attempt's variables after its last epoch."""
    best: Best | None = None
    at: str = field(default_factory=utc_now)
