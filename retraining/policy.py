"""Whether to retrain, from which version, and whether by fine-tuning or from scratch. Rules without I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from registry.records import Signature, Verdict
from registry.spelling import same_but_for_spelling, shown
from training.data.spec import DataSpec

RESPLIT = "the rule of the split has changed, so it may have learned from what is the holdout now"
NO_KERAS = "it is an ONNX model, which nothing trains further"
LEARNED_UNKNOWN = "samples may change their split, and which ones it has learned from is not known: there are more than [lineage] row_keys"
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Base:
    """The registered version whose model a retraining starts from."""

    version: int
    area: Literal["production", "test"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to retrain, from which version (null: from scratch), and why."""

    retrain: bool
    base: Base | None
    reasons: tuple[str, ...]


def choose_base(live: int | None, newest: int | None) -> Base | None:
    """The live version, else the newest candidate, else None: the first model is trained from scratch.

    `newest` is the newest version in the test area.
    """
    if live is not None:
        return Base(live, "production")
    return None if newest is None else Base(newest, "test")


def decide(base: Base | None, verdict: Verdict | None, *, forced: bool, why: str = "on request") -> Decision:
    """Whether to retrain, given the gate's verdict on the base version with the new data.

    `verdict` is null when that could not be measured on the new data. `forced`: whatever the verdict is; `why` ends the
    sentence about it.
    """
    if base is None:
        return Decision(True, None, ("there is no version to start from: training from scratch",))
    which = "which is live" if base.area == "production" else "the newest candidate: nothing is live"
    start = f"starts from version {base.version}, {which}"
    if verdict is None:
        return Decision(True, base, (start, "it cannot be measured on the new data"))
    if not verdict.accepted:
        return Decision(True, base, (start, "it fails the gate on the new data", *verdict.reasons))
    if forced:
        return Decision(True, base, (start, f"it still passes the gate on the new data; retrained {why}"))
    return Decision(False, base, (f"version {base.version} still passes the gate on the new data: not retrained",))


def obstacle(old: Signature, split: str, spec: DataSpec, inputs: Collection[str]) -> str:
    """Why a registered model cannot be fine-tuned on the new data, so that it is trained from scratch; else empty.

    `old` is its signature, `split` the rule by which its data were split; `spec` describes the new data, and `inputs`
    names what the new model would be fed with.
    """
    if split != spec.split:
        return RESPLIT
    if old.task != spec.task:
        return f"it was made for {old.task}, the data are for {spec.task}"
    if old.classes != spec.classes:
        return f"the classes have changed ({_difference(old.classes, spec.classes) or 'another order'})"
    if old.targets != spec.targets:
        return f"the targets have changed ({_difference(old.targets, spec.targets) or 'another order'})"
    if old.target != spec.target:
        return f"it predicts {old.target!r}, the data ask for {spec.target!r}"
    if difference := _difference([each.name for each in old.inputs], inputs):
        return f"the inputs have changed ({difference})"
    return ""


def has_learned(moving: bool, rows: Sequence[bool] | None) -> str:  # noqa: FBT001
    """Why a registered model may not be fine-tuned, as it has learned from what is the holdout now; else empty. `moving`:
    samples may change their split; `rows`: see `learned_rows`."""
    if not moving:
        return ""
    if rows is None:
        return LEARNED_UNKNOWN
    count = sum(rows)
    return f"it has learned from {count:,} of the {len(rows):,} samples that are the holdout now" if count else ""


def other_classes(had: Collection[str], have: Collection[str]) -> str:
    """Why the metrics of a model with the classes `had` say nothing on data with the classes `have`; empty when they do,
    and where one side has none."""
    if not had or not have or set(had) == set(have):
        return ""
    if pairs := same_but_for_spelling(had, have):
        changed = ", ".join(f"{' is now '.join(shown(*pair))}" for pair in pairs.items() if len(set(pair)) > 1)
        return f"not comparable: its classes are spelled otherwise ({changed})"
    return f"not comparable: it has other classes than the data ({_difference(had, have)})"


def _difference(had: Collection[str], have: Collection[str]) -> str:
    new, gone = sorted(set(have) - set(had)), sorted(set(had) - set(have))
    return "; ".join(f"{word}: {', '.join(names[:SHOWN])}" for word, names in (("new", new), ("gone", gone)) if names)
