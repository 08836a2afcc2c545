"""Which texts are one value in two spellings."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spelling import (
    by_spelling,
    canonical,
    difference,
    name_spelling,
    same_but_for_spelling,
    shown,
    spelling,
    spellings,
)

NFC, NFD = "caf\u00e9", "cafe\u0301"
SAME = {
    "a whole number and a decimal one": ("1", "1.0", "how the number is written"),
    "a zero before": ("1", "01", "how the number is written"),
    "case of truth values": ("True", "true", "upper and lower case"),
    "a blank behind": ("yes", "yes ", "blanks"),
    "two blanks": ("New York", "New  York", "blanks"),
    "a blank that does not break": ("New York", "New\u00a0York", "blanks"),
    "a mark that nobody sees": ("yes", "\ufeffyes", "characters that nobody sees"),
    "Unicode's two forms": (NFC, NFD, "the Unicode form of their letters"),
}


@pytest.mark.parametrize(("one", "other", "why"), SAME.values(), ids=SAME)
def test_two_spellings_are_one_value_and_it_is_said_in_what_they_differ(one, other, why):
    assert spelling(one) == spelling(other)
    assert difference(one, other) == why
    first, second = shown(one, other)
    assert first != second
    assert first.isprintable()
    assert unicodedata.normalize("NFC", first) != unicodedata.normalize("NFC", second)


@pytest.mark.parametrize("pair", [("1", "one"), ("yes", "Yes"), ("A", "a"), ("1", "1.5"), ("", "0"), ("nan", "NaN")])
def test_different_values_stay_different(pair):
    assert spelling(pair[0]) != spelling(pair[1])


def test_what_json_and_parquet_hold_is_spelled_like_the_text_of_a_file():
    assert spelling(True) == spelling("True") == spelling("true")
    assert spelling(1) == spelling(1.0) == spelling("1")
    assert spelling(2**60) != spelling(2**60 + 1)


@given(st.text())
def test_a_spelling_is_a_spelling_of_itself(text):
    assert spelling(spelling(text)) == spelling(text)
    assert name_spelling(name_spelling(text)) == name_spelling(text)


def test_a_spelling_that_two_texts_share_means_neither():
    assert spellings(["1", "01", "a"]) == {"1.0": ["1", "01"], "a": ["a"]}
    assert by_spelling(["1", "01", "a"]) == {"a": "a"}


def test_two_sets_of_classes_that_differ_in_spelling_alone_are_recognised():
    assert same_but_for_spelling(["0.0", "1.0"], ["0", "1"]) == {"0.0": "0", "1.0": "1"}
    assert not same_but_for_spelling(["0", "1"], ["0", "1"])
    assert not same_but_for_spelling(["0", "1"], ["0", "1", "2"])
    assert not same_but_for_spelling(["0.0", "1.0"], ["0", "2"])
    assert not same_but_for_spelling(["0.0", "0"], ["0", "00"])
    assert same_but_for_spelling(["a", "1.0"], ["1", "a"]) == {"a": "a", "1.0": "1"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 - 1, "9007199254740991.0"),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        ("-0", "0.0"),
        ("1e2", "100.0"),
        (" .50", "0.5"),
        ("yes ", "yes "),
    ],
)
def test_a_number_has_one_text_as_far_as_float64_holds_it_and_texts_stay(value, text):
    assert canonical(value) == text


def test_a_name_is_composed_without_what_nobody_sees_and_with_one_space_for_any_blank():
    assert [name_spelling(each) for each in (" a b ", "a \t b", f"{NFD}\u200d x", "\u00a0a\u2009b", "a\nb")] == [
        "a b", "a b", f"{NFC} x", "a b", "a b",
    ]  # fmt: skip


def test_values_that_look_different_are_shown_as_they_are():
    assert shown("é", "e", "é ") == ["'é'", "'e'", "'é '"]
    assert shown(NFC, NFD, "x") == ["'caf\\xe9'", "'cafe\\u0301'", "'x'"]
