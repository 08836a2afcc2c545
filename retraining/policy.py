"""Whether to retrain, and from where. Rules without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.records import Verdict

RESPLIT = "the rule of the split has changed, so it may have learned from what is the holdout now"


@dataclass(frozen=True, slots=True)
class Start:
    """The version that a retraining goes on from; null: from nothing."""

    version: int | None
    area: Literal["production", "test", ""]
    note: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to retrain, and why."""

    retrain: bool
    note: str


def starting_point(live: int | None, newest: int | None) -> Start:
    """The model in production, else the newest candidate, else nothing.

    `live`: the version that is live; `newest`: the newest version in the test area.
    """
    if live is not None:
        return Start(live, "production", f"goes on from version {live}, which is live")
    if newest is not None:
        return Start(newest, "test", f"goes on from version {newest}, the newest candidate: nothing is live")
    return Start(None, "", "there is no model to go on from: trains from nothing")


def worth_it(verdict: Verdict | None, *, forced: bool) -> Decision:
    """Whether the old model is to be retrained, given the gate's verdict on it with the new data.

    `verdict` is null when the old model could not be measured on the new data.
    """
    if verdict is None:
        return Decision(retrain=True, note="the old model cannot be measured on the new data")
    if verdict.accepted and forced:
        return Decision(retrain=True, note="the old model still passes the gate on the new data; retrained on request")
    if verdict.accepted:
        return Decision(retrain=False, note="the old model still passes the gate on the new data: not retrained")
    return Decision(retrain=True, note="the old model fails the gate on the new data: " + "; ".join(verdict.reasons))
