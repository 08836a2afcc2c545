"""What must hold of the samples of any dataset before a model is trained: no leak, no contradiction, no empty class."""

import pytest

from training.data.checks import (
    CLASSES,
    FILLED,
    SPELLINGS,
    TWO_LABELS,
    TWO_SPLITS,
    Checks,
    SampleList,
    TwinHints,
    as_text,
    check_classes,
    check_samples,
    check_spellings,
    in_order,
)

HINTS = TwinHints("one split", "one label", "allow them")
STRICT = TwinHints("one split", "one label")
SPLIT = {"t": "train", "v": "validation", "h": "holdout"}


def samples(text, classes=("a", "b")):
    """`t1a v2b`: sample 1 of class a is in the train split, 2 of b in validation; equal numbers are equal samples."""
    words = text.split()
    return SampleList(
        names=[f"s{i}" for i in range(len(words))],
        splits=[SPLIT[word[0]] for word in words],
        labels=[word[-1] for word in words] if classes else [],
        digests=[word[1:-1].encode() for word in words],
        classes=classes,
    )


GOOD = "t1a t2b v3a v4b h5a h6b"


def checked(text, hints=STRICT, classes=("a", "b"), before=lambda _: None):
    before(checks := Checks())
    check_samples(checks, samples(text, classes), hints)
    return checks


def said(checks):
    return [message for each in checks.failed for message in each.messages]


def outcomes(checks):
    return {each.name: each.outcome for each in checks.report().cases}


class TestChecks:
    def test_a_check_passes_unless_it_fails_and_is_reported_once(self):
        checks = Checks()
        checks.make("one", "two")
        checks.make("one")
        checks.fail("three", "x")
        assert outcomes(checks) == {"one": "passed", "two": "passed", "three": "failed"}
        assert [checks.has_failed(each) for each in ("one", "two", "three", "four")] == [False, False, True, False]
        assert checks.report().suite == "data"

    def test_the_first_ten_places_are_kept_for_each_thing_to_do_and_all_are_counted(self):
        checks = Checks()
        for i in range(12):
            checks.fail("check", f"place {i}", "do this")
        checks.fail("check", "elsewhere", "do that", 5)
        checks.fail("check", "there", "do that")
        first, second = checks.failed
        assert (first.count, first.messages, first.hint) == (12, tuple(f"place {i}" for i in range(10)), "do this")
        assert (second.count, second.messages, second.hint) == (6, ("elsewhere", "there"), "do that")
        assert as_text(first).splitlines()[0] == "failed: check (12 errors)"
        assert as_text(first).splitlines()[-2:] == ["... and more: 12 in all", "hint: do this"]
        assert as_text(second) == "failed: check (6 errors)\nelsewhere\nthere\nhint: do that"
        (case,) = checks.report().cases
        assert case.message == as_text(first) + "\n" + as_text(second)

    def test_ten_places_of_ten_are_all_and_without_a_hint_there_is_none(self):
        checks = Checks()
        for i in range(10):
            checks.fail("ten", f"{i}")
        checks.fail("one", "place")
        ten, one = checks.failed
        assert as_text(ten) == "\n".join(["failed: ten (10 errors)", *map(str, range(10))])
        assert as_text(one) == "failed: one (1 error)\nplace"

    def test_a_note_is_no_reason_to_stop(self):
        checks = Checks()
        checks.note("a note")
        assert (checks.notes, checks.failed) == (["a note"], ())


class TestSamples:
    def test_are_counted_by_split_and_by_class(self):
        found = samples("t1a t2a h3b")
        assert found.per_split() == {"train": 2, "validation": 0, "holdout": 1}
        assert found.per_class()["train"] == {"a": 2, "b": 0}
        assert found.per_class()["holdout"] == {"a": 0, "b": 1}
        assert samples("t1a", classes=()).per_class() == {}

    def test_are_called_by_their_name_or_by_their_place_where_the_name_is_secret(self):
        found = samples("t1a t2b")
        assert (found.called(1), found.first_of("b")) == ("s1", "s1")
        found.place = lambda index: f"row {index}"
        assert (found.called(1), found.first_of("b")) == ("row 1", "row 1")

    def test_that_are_good_pass_all_checks(self):
        checks = checked(GOOD)
        assert outcomes(checks) == {TWO_SPLITS: "passed", TWO_LABELS: "passed", FILLED: "passed"}
        assert checks.notes == []

    def test_to_predict_a_number_of_have_no_labels_to_contradict(self):
        checks = checked("t1a v2a h3a t1b", classes=())
        assert len(checks.notes) == 1
        assert outcomes(checks) == {TWO_SPLITS: "passed", FILLED: "passed"}

    @pytest.mark.parametrize(
        ("more", "messages", "hint"),
        [
            ("h1a", ["equal samples: s0 (train), s6 (holdout)"], "one split"),
            ("h1a v1a h1a", ["equal samples: s0 (train), s6 (holdout), s7 (validation)"], "one split"),
            ("t1b", ["equal samples: s0 (a), s6 (b)"], "one label"),
            ("t1b t1b", ["equal samples: s0 (a), s6 (b)"], "one label"),
            ("t2a t1b", ["equal samples: s1 (b), s6 (a)", "equal samples: s0 (a), s7 (b)"], "one label"),
        ],
    )
    def test_that_are_equal_may_be_in_one_split_and_under_one_label_only(self, more, messages, hint):
        checks = checked(f"{GOOD} {more}")
        assert sorted(said(checks)) == sorted(messages)
        assert [each.hint for each in checks.failed] == [hint]
        assert checks.notes == []

    def test_that_leak_and_contradict_each_other_are_reported_as_both(self):
        checks = checked(f"{GOOD} h1b")
        assert said(checks) == ["equal samples: s0 (train), s6 (holdout)", "equal samples: s0 (a), s6 (b)"]

    def test_that_repeat_another_one_do_no_harm_and_are_noted(self):
        checks = checked(f"{GOOD} t1a t1a v4b")
        assert said(checks) == []
        assert checks.notes == ["3 samples repeat another one of the same split and label (e.g. s6)"]

    def test_without_digests_are_not_compared(self):
        found = samples("t1a v1b h1a t2b v2a h2b")
        found.digests = []
        check_samples(checks := Checks(), found, HINTS)
        assert outcomes(checks) == {FILLED: "passed"}

    @pytest.mark.parametrize(
        ("text", "messages"),
        [
            ("t1a t2b h3a h4b", ["validation: no samples at all"]),
            ("t1a t2b v3a h4a h5b", ["validation: no sample of class 'b' (samples of it in all: 2)"]),
            ("t1a v3a h4a", []),  # that there is no b at all is said elsewhere
        ],
    )
    def test_are_in_every_split_of_every_class(self, text, messages):
        checks = checked(text)
        assert said(checks) == messages
        assert all("fractions in [split]" in each.hint for each in checks.failed)

    def test_that_are_mostly_equal_fill_no_split_until_they_are_allowed_to_be_equal(self):
        text = "t1a t1a t1a t2b t2b"
        assert [each.hint for each in checked(text, HINTS).failed] == [
            "only 2 of 5 samples differ, and equal ones share a split: allow them"
        ]
        assert "only 1 of 3 samples differ" in checked("t1a t1a t1a", HINTS).failed[0].hint
        assert [each.hint for each in checked("t1a t1a t2b t2b", HINTS).failed] == [
            "add samples, or change the fractions in [split]"
        ]
        assert all("[split]" in each.hint for each in checked(text, STRICT).failed)
        assert [each.check for each in checked(f"{text} t1b", HINTS).failed] == [TWO_LABELS]
        assert [each.check for each in checked(f"{text} t1b", STRICT).failed] == [TWO_LABELS, FILLED]

    def test_of_one_value_in_two_spellings_are_not_compared_yet(self):
        checks = checked("t1a h1b", before=lambda checks: checks.fail(SPELLINGS, "two spellings"))
        assert outcomes(checks) == {SPELLINGS: "failed"}


class TestClasses:
    @pytest.mark.parametrize(
        ("labels", "order"),
        [(["10", "9", "9"], ["9", "10"]), (["1", "-2"], ["-2", "1"]), (["b", "1", "10"], ["1", "10", "b"]),
         (["1", "01"], ["01", "1"]), (["1.5", "10"], ["1.5", "10"])],
    )  # fmt: skip
    def test_are_in_the_order_of_numbers_where_all_are_whole_numbers(self, labels, order):
        assert in_order(labels) == order

    @pytest.mark.parametrize(
        ("declared", "found", "classes", "messages"),
        [
            ((), {"b": 1, "a": 2}, ("b", "a"), []),
            (("b", "a"), {"a": 1, "b": 2}, ("b", "a"), []),
            (("a", "b"), {"a": 1}, ("a", "b"), ["class 'b' is listed in dataset.toml but has no samples"]),
            (("a", "b"), {"a": 1, "b": 0}, ("a", "b"), ["class 'b' is listed in dataset.toml but has no samples"]),
            (("a", "b"), {"a": 1, "b": 1, "c": 0}, ("a", "b"), []),
            (("1", "01"), {"1": 1}, ("1", "01"), ["class '01' is listed in dataset.toml but has no samples"]),
            ((), {"a": 1, "b": 0}, ("a", "b"), ["label 'b' has no samples"]),
            (("a", "b"), {"a": 1, "b": 1, "zz": 3}, ("a", "b"), ["label 'zz' (3 samples) is not among `classes`"]),
            (
                ("cat", "dog"), {"cat": 1, "dgo": 1}, ("cat", "dog"),
                [
                    "class 'dog' is listed in dataset.toml but has no samples",
                    "label 'dgo' (1 samples) is not among `classes`, did you mean 'dog'?",
                ],
            ),
            (
                ("cat", "1"), {"cat": 1, "1.0": 2}, ("cat", "1"),
                ["label '1.0' (2 samples) is '1' in `classes`; they differ in how the number is written"],
            ),
            ((), {"a": 1}, ("a",), ["a classifier needs at least two classes, there is only 'a'"]),
            ((), {}, (), ["a classifier needs at least two classes, there is none"]),
        ],
    )  # fmt: skip
    def test_are_those_that_are_declared_or_found_and_each_has_samples(self, declared, found, classes, messages):
        checks = Checks()
        assert check_classes(checks, declared, found, "label") == classes
        assert sorted(said(checks)) == sorted(messages)
        assert outcomes(checks) == {CLASSES: "failed" if messages else "passed"}


class TestSpellings:
    def test_one_value_in_two_spellings_is_refused_with_the_places_of_both(self):
        checks = Checks()
        check_spellings(checks, "column 'x'", {"yes": 7, "no": 9, "yes ": 1}, {"yes": "r1", "yes ": "r4"}.get, "hint")
        (failed,) = checks.failed
        assert (failed.check, failed.count, failed.hint) == (SPELLINGS, 1, "hint")
        assert failed.messages == (
            (
                "column 'x' holds one value in 2 spellings: 'yes' (7 samples, the first: r1) and 'yes ' (1 sample, the first: "
                "r4); they differ in blanks"
            ),
        )

    @pytest.mark.parametrize(("fewest", "shown"), [(5, "'yes' (5 samples"), (4, "one spelling (4 samples")])
    def test_a_value_that_a_handful_shares_is_not_shown_where_it_is_secret(self, fewest, shown):
        for secret in (True, False):
            checks = Checks()
            check_spellings(checks, "x", {"yes": fewest, "yes ": 9}, lambda _: "r", "hint", secret=secret)
            assert (f"spellings: {shown}" in said(checks)[0]) == (secret or fewest == 5)
            assert checks.failed[0].count == fewest
            assert ("another one (9 samples" in said(checks)[0]) == (secret and fewest == 4)

    def test_of_many_spellings_the_first_ten_are_shown_and_all_but_the_most_frequent_counted(self):
        checks = Checks()
        check_spellings(checks, "x", {"a" + " " * i: i + 1 for i in range(12)}, lambda _: "r", "hint")
        assert said(checks)[0].count("the first: r") == 10
        assert "in 12 spellings" in said(checks)[0]
        assert checks.failed[0].count == sum(range(1, 12))

    @pytest.mark.parametrize(
        ("counts", "secret", "notes"),
        [
            ({"yes": 9, "no": 9}, False, []),
            (
                {"yes": 9, "Yes": 1, "no": 9}, False,
                ["x: a value is there in upper and in lower case, such as 'yes' and 'Yes', and count as different ones"],
            ),
            (
                {"yes": 9, "Yes": 5}, True,
                ["x: a value is there in upper and in lower case, such as 'yes' and 'Yes', and count as different ones"],
            ),
            ({"yes": 9, "Yes": 4}, True, ["x: a value is there in upper and in lower case and count as different ones"]),
            (
                {"b": 9, "B": 9, "a": 9, "A": 9}, False,
                ["x: 2 values are there in upper and in lower case, such as 'b' and 'B', and count as different ones"],
            ),
        ],
    )  # fmt: skip
    def test_what_differs_in_case_alone_is_noted(self, counts, secret, notes):
        checks = Checks()
        check_spellings(checks, "x", counts, lambda _: "r", "hint", secret=secret)
        assert checks.notes == notes
        assert outcomes(checks) == {SPELLINGS: "passed"}
