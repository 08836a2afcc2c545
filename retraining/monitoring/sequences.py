"""Whether errors have become more frequent, one labelled answer after the other: the test of Page (1954), also named CUSUM."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """How much evidence there is that the error rate has risen. Immutable: each step gives a new one, which can be kept as JSON.

    The evidence is the sum of the logarithms of likelihood ratios, of a rate of `risen` against `usual`, and never below 0. It
    reaches `threshold` by chance once in about e^threshold answers at the earliest (Lorden 1971); answers may come as late and as
    unevenly as they like.
    """

    usual: float
    """The error rate on the holdout."""
    risen: float
    """The error rate that is to be found as early as possible."""
    threshold: float = math.log(20_000)
    evidence: float = 0.0
    seen: int = 0
    since: int = 0
    """After how many answers the evidence began to grow: the likely start of the decay."""

    @property
    def found(self) -> bool:
        return self.evidence >= self.threshold

    def after(self, errors: ArrayLike) -> PageHinkley:
        """What is known after these further answers: bool, shape (rows,), True where one was wrong. It stays found, once it is."""
        wrong, right = math.log(self.risen / self.usual), math.log((1 - self.risen) / (1 - self.usual))
        evidence, seen, since = self.evidence, self.seen, self.since
        for error in np.asarray(errors, dtype=bool).tolist():
            if evidence >= self.threshold:
                break
            seen += 1
            evidence += wrong if error else right
            if evidence <= 0:
                evidence, since = 0.0, seen
        return replace(self, evidence=evidence, seen=seen, since=since)

    def recovery(self, errors: ArrayLike) -> int | None:
        """After how many of these answers, which follow those that were seen, the rate is the usual one again; None: it is not.

        The same test the other way round, of `usual` against `risen` with the same threshold: while the rate stays risen, it is
        taken for usual once in about e^threshold answers.
        """
        wrong, right = math.log(self.usual / self.risen), math.log((1 - self.usual) / (1 - self.risen))
        evidence = 0.0
        for place, error in enumerate(np.asarray(errors, dtype=bool).tolist()):
            evidence = max(evidence + (wrong if error else right), 0.0)
            if evidence >= self.threshold:
                return place + 1
        return None


@dataclass(frozen=True, slots=True)
class Followed:
    """What a sequence of errors comes to."""

    last: PageHinkley
    """Since the beginning, or since the last recovery; `seen` and `since` count from the beginning of the sequence."""
    recovered: int = 0
    """After how many answers the rate was the usual one again, the last time that it had risen; 0: it never has."""


def follow(start: PageHinkley, errors: ArrayLike) -> Followed:
    """Decay, recovery, decay again, …: what holds at the end of these answers, bool, shape (rows,)."""
    every = np.asarray(errors, dtype=bool)
    last, recovered = start.after(every), 0
    while last.found and (count := last.recovery(every[last.seen :])) is not None:
        recovered = last.seen + count
        last = replace(start, seen=recovered, since=recovered).after(every[recovered:])
    return Followed(last, recovered)


def page_hinkley(errors: int, samples: int, rise: float = 0.05) -> PageHinkley:
    """To find that the error rate has risen by `rise` since a holdout with so many `errors` in so many samples.

    The usual rate is the upper end of what the holdout leaves possible with 84 % (one standard error above, by Agresti and Coull
    1998): a lucky holdout must not raise alarms. Raises ValueError without samples.
    """
    if samples < 1:
        raise ValueError("without samples in the holdout the usual error rate is not known")
    smoothed = (errors + 1) / (samples + 2)
    usual = min(smoothed + math.sqrt(smoothed * (1 - smoothed) / (samples + 2)), 1 - rise - 1e-3)
    return PageHinkley(usual, usual + rise)
