"""Whether a version was reproduced, how exactly, and what was different around it. Rules without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pipelines.runs import briefly
from pipelines.text.metrics import number
from pipelines.workers.jobs import Differences
from registry.dataclass import dataclass
from registry.records import Candidate, Served

Outcome = Literal["bit-identical", "equal", "different", "impossible"]
EXIT_CODES: Mapping[Outcome, int] = {"bit-identical": 0, "equal": 0, "different": 3, "impossible": 2}
KERAS_FILE = "model.keras"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The record of one try; `<home>/reproductions/<model>-<version>.json` is the newest."""

    model: str
    version: int
    card: str
    """SHA-256 of the version's manifest."""
    tolerance: float
    """The largest absolute difference of a weight, or of a number that is predicted, that counts as equal."""
    at: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    circumstances: tuple[str, ...] = ()
    """What was not the same around the two trainings."""
    identical: tuple[str, ...] = ()
    """Files of the model with the same bytes."""
    other: tuple[str, ...] = ()
    """Files of the model with other bytes, or that only one of the two has."""
    differences: Differences | None = None
    """Null: nothing had to be compared, or nothing could be."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when it was reproduced."""
        return EXIT_CODES[self.outcome]


def model_files(files: Mapping[str, str], served: Served) -> dict[str, str]:
    """Of the files of a version (name → SHA-256) those that are the model: what is served, and the file of Keras."""
    return {
        name: sha256
        for name, sha256 in files.items()
        if name in {KERAS_FILE, served.path} or name.startswith(f"{served.path}/")
    }


def decide(other: Sequence[str], found: Differences | None, tolerance: float) -> tuple[Outcome, tuple[str, ...]]:
    """How exactly a version was reproduced, and why that is so; `other` are the files of the model with other bytes."""
    if not other:
        return "bit-identical", ("every file of the model has the same bytes",)
    if found is None:
        return "different", (f"other bytes in {', '.join(other)}, and nothing to compare them by",)
    weights, predictions = found.weights, found.predictions
    if predictions == 0 and (weights == 0 or found.by_predictions):
        return "bit-identical", (
            f"the same {'predictions' if found.by_predictions else 'weights and predictions'}; only what is around them differs in {briefly(other)}",
        )
    reasons = list(found.notes)
    if weights is not None:
        reasons.append(f"weights differ by at most {weights:.3g}")
    if predictions is not None:
        reasons.append(
            f"predictions on the {found.samples:,} samples of the holdout differ by at most {predictions:.3g}"
        )
    reasons += _metrics(found)
    apart = (predictions,) if found.by_predictions else (weights, predictions)
    if not all(each is not None and each <= tolerance for each in apart):  # NaN is not
        return "different", (*reasons, f"the tolerance is {tolerance:g}")
    return "equal", (*reasons, f"equal within {tolerance:g}")


def circumstances(
    card: Candidate, packages: Mapping[str, str], machine: Mapping[str, str], image: str | None
) -> Iterator[str]:
    """What differs between the training of a version and one that was made now."""
    then = card.image or "no container image (a process)"
    if card.image != image:
        yield f"{then} then, {image or 'no container image (a process)'} now"
    yield from _changed(card.packages, packages)
    yield from _changed(card.machine, machine)
    if card.training and not card.training.deterministic:
        yield "[training] deterministic was false: its settings did not ask for the same result twice"
    if card.how == "command":
        yield "a script of the team's own has trained it: whether it gives the same result twice is up to the script"


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            yield f"{name} {then.get(name, 'not there')} then, {now.get(name, 'not there')} now"


def _metrics(found: Differences) -> Iterator[str]:
    for name in sorted(found.then.keys() & found.again.keys()):
        if found.then[name] != found.again[name]:
            yield f"{name} {number(found.then[name])} then, {number(found.again[name])} now"
