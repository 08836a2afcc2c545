"""The gate holds at the promotion, too: a candidate that was compared with another release than the one it would replace is
measured beside that one, and may not be worse."""

from __future__ import annotations

from collections.abc import Callable

from pipelines import gate
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError, Rejected, TryAgain, WorkerFailed
from registry.records import Candidate, Comparison, Evaluation, Release

Measure = Callable[[Candidate, Release], Evaluation]
"""Measures a candidate and the live release on the candidate's holdout; raises a PipelineError when it cannot."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the gate has found at the promotion; nothing, when there was nothing to find out."""

    comparison: Comparison | None = None
    failed: tuple[str, ...] = ()
    """Every failed criterion."""
    note: str = ""
    """Why the two cannot be compared, although they were measured."""


def compare_with_live(candidate: Candidate, live: Release | None, measure: Measure, *, anyway: bool) -> Compared:
    """Compare a candidate with the release that it would replace, unless its manifest does.

    What cannot be measured is a failed criterion, not an error, when it is to be released `anyway`. Raises Rejected when
    it cannot be measured for good, TryAgain when it may be later, Corrupt when bytes were altered.
    """
    if live is None or live.version is None or _was_compared_with(candidate) == live.version:
        return Compared()
    try:
        found = measure(candidate, live)
    except TryAgain as error:
        if anyway:
            return Compared(failed=(_not_measured(error),))
        raise
    except (ConfigError, WorkerFailed) as error:
        return Compared(failed=(_not_measured(error),))
    failed = gate.worse_than_live(found, candidate.verdict.policy)
    return Compared(found.comparison, failed, found.live_note)


def must_hold(candidate: Candidate, live: Release | None, found: Compared, although: str) -> None:
    """Raise Rejected for what the gate has against it, unless a person has said why it is to be released all the same."""
    if not found.failed or although or live is None:
        return
    raise Rejected(
        f"{candidate.model} version {candidate.version} {_how_compared(candidate.evaluation)}, and would replace version {live.version}: "
        f"{'; '.join(found.failed)}",
        hint=f"a new run compares with version {live.version} (`trainyard run code --force`); "
        '--although "why" releases it all the same, which is recorded and mailed',
    )


def _was_compared_with(candidate: Candidate) -> int | None:
    comparison = candidate.evaluation.comparison
    return comparison.live_version if comparison else None


def _how_compared(found: Evaluation) -> str:
    if found.comparison:
        return f"was compared with version {found.comparison.live_version}"
    why = found.live_note.rstrip(".") or "nothing was live"
    return f"was compared with no live version ({why})"


def _not_measured(error: Exception) -> str:
    return f"it could not be measured beside it: {clean(str(error), 500)}"
