"""Collects what is wrong with the data: one check = one JUnit case, with a bounded number of messages per check."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.records import TestCase, TestReport
from registry.spelling import difference, shown, spelling, spellings
from training.data.spec import SPLITS, FailedCheck, SplitName
from training.data.times import Times

SHOWN = 10  # messages kept per check; the rest is counted

TWO_SPLITS = "no sample is in two splits"
TWO_LABELS = "no sample has two labels"
SAME_LABELS = "equal samples have the same labels"
"""The same, where a sample may have several."""
CLASSES = "every class is there"
LABELS_THERE = "every label is there"
FILLED = "every split has samples of every class"
SPELLINGS = "every value is written in one way"
SIDES = "every sample has a split"
ANOMALOUS, ORDINARY, UNKNOWN = MARK_WORDS = ("anomalous", "not anomalous", "not marked")
HANDFUL = 5
"""A value that fewer rows share may say who they are: only its places are shown. Class names are not secret."""


@dataclass(slots=True)
class SampleList:
    """What all formats know of their samples, one entry per sample in each list."""

    names: Sequence[str] = field(default_factory=list)
    splits: list[SplitName] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    """Class names, or the names of all its labels in one text; empty for regression."""
    several: list[tuple[int, ...]] | None = None
    """Of multi-label: which of `classes` each has; None for other tasks."""
    marked: Any = None
    """Of anomalies, a NumPy array: 1, 0, or NaN where nobody has said; None for other tasks."""
    digests: list[bytes] = field(default_factory=list)
    """A hash of the sample without its label: equal means the same sample."""
    classes: tuple[str, ...] = ()
    """In the order of the model's outputs; empty for regression."""

    said: list[str] = field(default_factory=list)
    """What `[split] column` or `file` says of each; with `by = "given"` only."""
    times: Times | None = None
    """When each was made; None without `[split] time`, and where it is not known."""
    strata: list[str] = field(default_factory=list)
    """The values of the column that `[split] stratify` names."""
    boundaries: tuple[str, ...] = ()
    """See `DataSpec.boundaries`."""
    contents: list[bytes] = field(default_factory=list)
    """As `digests`, also where equal samples are different things."""
    keyed: bool = False
    """A name is the sample's own, and not its place in a file."""

    groups: list[str] = field(default_factory=list)
    """What belongs together: all samples of a group are in one split; empty without `group` in `dataset.toml`."""
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    """SHA-256 and size of files of the dataset, as far as they were found on the way."""
    place: Callable[[int], str] | None = None
    """Where sample i is, in words, when its name is a value that nobody else may see: a key."""

    def only(self, stay: Sequence[int]) -> SampleList:
        """Those at these positions."""
        lists = ("names", "splits", "labels", "several", "digests", "said", "strata", "contents", "groups")
        found: dict[str, Any] = {name: [each[i] for i in stay] for name in lists if (each := getattr(self, name))}
        place = self.place
        return replace(
            self,
            **found,
            marked=None if self.marked is None else self.marked[list(stay)],
            times=self.times and self.times.only(stay),
            place=(lambda index: place(stay[index])) if place else None,
        )

    def called(self, index: int) -> str:
        """What messages call a sample."""
        return self.place(index) if self.place else self.names[index]

    def first_of(self, label: str) -> str:
        """The first sample with this label."""
        return self.called(self.labels.index(label))

    def per_split(self) -> dict[str, int]:
        """Split → samples."""
        found = Counter(self.splits)
        return {split: found[split] for split in SPLITS}

    def per_class(self) -> dict[str, dict[str, int]]:
        """Split → class → samples; of anomalies, what they are marked as; empty for regression."""
        if self.marked is not None:
            words = [_mark(each) for each in self.marked.tolist()]
            marked = Counter(zip(self.splits, words, strict=True))
            return {split: {name: marked[split, name] for name in MARK_WORDS} for split in SPLITS}
        if not self.classes:
            return {}
        found = Counter(zip(self.splits, self.labels, strict=True))
        if self.several is not None:
            sides = zip(self.splits, self.several, strict=True)
            found = Counter((split, self.classes[each]) for split, row in sides for each in row)
        return {split: {name: found[split, name] for name in self.classes} for split in SPLITS}


def _mark(value: float) -> str:
    return UNKNOWN if value != value else ANOMALOUS if value else ORDINARY  # noqa: PLR0124  (NaN)


class Checks:
    """The checks that were made, in order, and what they found."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, tuple[list[str], list[int]]]] = {}
        """Check → hint → what was found, and how often."""
        self._notes: list[str] = []
        self._leaks: dict[str, tuple[str, int]] = {}
        """Check → the first leak that was found, and how many."""
        self.leaks_are_noted = False
        """Whether a sample that another split gives away is a note, and no error."""
        self.read_as: list[str] = []
        """How files were read, where there is more than one way to read them."""

    def make(self, *names: str) -> None:
        """These checks are about to be made: unless they fail they will have passed."""
        for name in names:
            self._made.setdefault(name, {})

    def fail(self, check: str, message: str, hint: str = "", count: int = 1) -> None:
        """A check has found something wrong, at `count` places; `hint` is what to do about this, and about nothing else."""
        self.make(check)
        messages, counts = self._made[check].setdefault(hint, ([], []))
        counts.append(count)
        if len(messages) < SHOWN:
            messages.append(message)

    def leak(self, check: str, message: str, hint: str = "", count: int = 1) -> None:
        """A split gives samples of another one away: as `fail`, unless that is only reported."""
        if not self.leaks_are_noted:
            self.fail(check, message, hint, count)
            return
        self.make(check)
        first, before = self._leaks.get(check, (message, 0))
        self._leaks[check] = first, before + count

    def has_failed(self, check: str) -> bool:
        """Whether this check has found something wrong."""
        return bool(self._made.get(check))

    def note(self, message: str) -> None:
        """Worth knowing, no reason to stop."""
        self._notes.append(message)

    @property
    def notes(self) -> list[str]:
        """All that is worth knowing; what splits give away comes first."""
        leaks = [f"leakage ({count:,}): {message}" for message, count in self._leaks.values()]
        return leaks + self._notes

    @property
    def failed(self) -> tuple[FailedCheck, ...]:
        """What is wrong, check by check, and within a check by what to do about it."""
        return tuple(
            FailedCheck(name, sum(counts), tuple(messages), hint)
            for name, by_hint in self._made.items()
            for hint, (messages, counts) in by_hint.items()
        )

    def report(self) -> TestReport:
        """One case per check."""
        texts: dict[str, list[str]] = {}
        for each in self.failed:
            texts.setdefault(each.check, []).append(as_text(each))
        cases = [
            TestCase(name, "failed", message="\n".join(texts[name])) if name in texts else TestCase(name, "passed")
            for name in self._made
        ]
        return TestReport("data", tuple(cases))


def as_text(failed: FailedCheck) -> str:
    """A failed check as lines of text: how many errors, where, what to do."""
    lines = [
        f"failed: {failed.check} ({failed.count:,} {'error' if failed.count == 1 else 'errors'})",
        *failed.messages,
    ]
    if failed.count > len(failed.messages) >= SHOWN:
        lines.append(f"... and more: {failed.count:,} in all")
    return "\n".join(lines + ([f"hint: {failed.hint}"] if failed.hint else []))


def in_order(labels: Sequence[str]) -> list[str]:
    """The different labels, sorted: by number when all are whole numbers, else by text."""
    names = set(labels)
    if all(name.removeprefix("-").isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def check_spellings(
    checks: Checks,
    what: str,
    counts: Mapping[str, int],
    first: Callable[[str], str],
    hint: str,
    *,
    secret: bool = False,
) -> None:
    """Refuse one value in two spellings, which would be two classes, categories or groups.

    `counts`: text → samples with it; `first` gives the place of the first one; `secret` values are not shown when few
    samples have them. What differs in upper and lower case alone is noted: it may well be two values.
    """
    checks.make(SPELLINGS)
    found = spellings(counts)
    for texts in (each for each in found.values() if len(each) > 1):
        quoted = shown(*texts)
        if secret and min(counts[each] for each in texts) < HANDFUL:
            quoted = ["one spelling", *["another one"] * (len(texts) - 1)]
        listed = " and ".join(
            f"{name} ({counts[text]} {'sample' if counts[text] == 1 else 'samples'}, the first: {first(text)})"
            for name, text in zip(quoted[:SHOWN], texts, strict=False)
        )
        message = f"{what} holds one value in {len(texts)} spellings: {listed}; they differ in {difference(*texts[:2])}"
        checks.fail(SPELLINGS, message, hint, sum(sorted(counts[each] for each in texts)[:-1]))
    cases = Counter(key.casefold() for key in found)
    if pairs := [key for key, times in cases.items() if times > 1]:
        example = [texts[0] for key, texts in found.items() if key.casefold() == pairs[0]]
        known = not secret or min(counts[each] for each in example) >= HANDFUL
        named = f", such as {' and '.join(shown(*example))}," if known else ""
        several = f"{len(pairs)} values are" if len(pairs) > 1 else "a value is"
        checks.note(f"{what}: {several} there in upper and in lower case{named} and count as different ones")


def check_classes(checks: Checks, declared: Sequence[str], found: Mapping[str, int], what: str) -> tuple[str, ...]:
    """The classes in the order of the model's outputs: as declared, else as `found` (class → samples) lists them.

    `what` is what bears a class's name: a folder, a label.
    """
    checks.make(CLASSES)
    others = {spelling(name) for name, count in found.items() if count and name not in declared}  # reported below
    for name in declared:
        if not found.get(name) and spelling(name) not in others:
            message = f"class {name!r} is listed in dataset.toml but has no samples"
            checks.fail(CLASSES, message, f"add samples of {name!r} again, or take it out of `classes`")
    for name, count in found.items():
        if declared and count and name not in declared:
            _check_declared(checks, declared, name, count, what)
        elif not declared and not count:
            checks.fail(CLASSES, f"{what} {name!r} has no samples", "add some, remove it, or list `classes`")
    classes = tuple(declared or found)
    if len(classes) < 2:
        found_only = f"only {classes[0]!r}" if classes else "none"
        checks.fail(
            CLASSES, f"a classifier needs at least two classes, there is {found_only}", "add samples of another class"
        )
    return classes


def _check_declared(checks: Checks, declared: Sequence[str], name: str, count: int, what: str) -> None:
    """Report a class that is not among those of dataset.toml."""
    same = [each for each in declared if spelling(each) == spelling(name)]
    if same:
        ours, theirs = shown(name, same[0])
        message = (
            f"{what} {ours} ({count} samples) is {theirs} in `classes`; they differ in {difference(name, same[0])}"
        )
        checks.fail(CLASSES, message, "write it in `classes` as the data have it")
        return
    near = difflib.get_close_matches(name, declared, n=1)
    message = f"{what} {name!r} ({count} samples) is not among `classes`"
    checks.fail(CLASSES, message + (f", did you mean {near[0]!r}?" if near else ""), "add it there, or remove it")


@dataclass(frozen=True, slots=True)
class TwinHints:
    """What to do about equal samples, by format. Nothing here may cost a row that means something of its own."""

    splits: str
    """In two splits."""
    labels: str
    """Under two labels."""
    allow: str = ""
    """How to say that equal samples are different things, where that can be said."""


def check_samples(checks: Checks, samples: SampleList, hints: TwinHints) -> None:
    """What must hold for every format: classes and splits are filled, and no sample leaks or contradicts itself."""
    if checks.has_failed(SPELLINGS) or checks.has_failed(SIDES):  # the classes are not yet what they will be
        return
    if samples.digests:
        _check_twins(checks, samples, hints)
    different = len(set(samples.digests))
    few = bool(hints.allow) and different < len(samples.digests) / 2
    if few and (
        checks.has_failed(TWO_LABELS) or checks.has_failed(SAME_LABELS)
    ):  # the splits are not yet what they will be
        return
    equal = f"only {different} of {len(samples.digests)} samples differ, and equal ones share a split: {hints.allow}"
    _check_filled(checks, samples, equal if few else "")


def _check_filled(checks: Checks, samples: SampleList, hint: str) -> None:
    """`hint`: what to do, when it is not only a matter of how many samples there are."""
    checks.make(FILLED)
    per_split = samples.per_split()
    for split in SPLITS:
        if not per_split[split]:
            checks.fail(
                FILLED, f"{split}: no samples at all", hint or "add samples, or change the fractions in [split]"
            )
    per_class, what = samples.per_class() if samples.classes else {}, "class" if samples.several is None else "label"
    in_all = {name: sum(each[name] for each in per_class.values()) for name in samples.classes}
    for part, found in per_class.items():
        if not per_split[part]:
            continue
        for name in (name for name, count in found.items() if not count and in_all[name]):
            message = f"{part}: no sample of {what} {name!r} (samples of it in all: {in_all[name]})"
            checks.fail(FILLED, message, hint or f"add samples of this {what}, or raise the fractions in [split]")


def _check_twins(checks: Checks, samples: SampleList, hints: TwinHints) -> None:
    same = TWO_LABELS if samples.several is None else SAME_LABELS
    checks.make(TWO_SPLITS, *([same] if samples.classes else []))
    first: dict[bytes, int] = {}
    twins: dict[bytes, list[int]] = {}
    for index, digest in enumerate(samples.digests):
        if (before := first.setdefault(digest, index)) != index:
            twins.setdefault(digest, [before]).append(index)
    harmless: list[int] = []
    for members in twins.values():
        by_split = {samples.splits[index]: index for index in reversed(members)}
        by_label = {samples.labels[index]: index for index in reversed(members)} if samples.labels else {}
        if len(by_split) > 1:
            places = _places(samples, by_split.values(), samples.splits)
            checks.leak(TWO_SPLITS, f"equal samples: {places}", hints.splits)
        if len(by_label) > 1:
            places = _places(samples, by_label.values(), samples.labels)
            checks.fail(same, f"equal samples: {places}", hints.labels)
        if len(by_split) <= 1 and len(by_label) <= 1:
            harmless += members[1:]
    if harmless:
        example = samples.called(harmless[0])
        checks.note(f"{len(harmless)} samples repeat another one of the same split and label (e.g. {example})")


def _places(samples: SampleList, indices: Iterable[int], what: Sequence[str]) -> str:
    return ", ".join(f"{samples.called(index)} ({what[index]})" for index in sorted(indices))
