"""How a text file writes numbers, and what `dataset.toml` has to say about it."""

import re

import pyarrow as pa
import pytest
from pyarrow import compute

from training.data.table.dialect import Dialect, Numbers, form

PLAIN, COMMA, GROUPS = Numbers(), Numbers(","), Numbers(",", ".")
BLANK, ENGLISH = Numbers(",", " "), Numbers(".", ",")


@pytest.mark.parametrize(
    ("numbers", "yes", "no"),
    [
        (PLAIN, ["1", "-1", "+1.5", ".5", "5.", "1e5", "1.5E-3", "inf", "-Infinity"], ["", ".", "1,5", "1 000", "0x1"]),
        (COMMA, ["1", "1,5", ",5", "5,", "1,5e3"], ["1.5", "1.000", ","]),
        (GROUPS, ["1000", "1.000", "12.345.678,9", "1.23.456"], ["1.00", "0.123", "1.0000", "1,000,000", "1 000"]),
        (BLANK, ["1 000", "1\u202f000,5", "1\u00a0000"], ["1.000", "1  000", "1 00"]),
        (ENGLISH, ["1,000.5", "1000"], ["1.000,5", "1 000", "1x000"]),
        (Numbers(".", "'"), ["1'000"], ["1,000", "1 000"]),
        (Numbers(",", "|"), ["1|000,5"], ["|", "1.000"]),
    ],
)
def test_a_whole_text_is_a_number_or_not_to_python_as_to_pyarrow(numbers, yes, no):
    texts = [*yes, *no, *(f"{each}x" for each in yes), *("\u0661",)]
    found = {each for each in texts if re.match(numbers.pattern, each)}
    assert found == set(yes)
    assert compute.match_substring_regex(pa.array(texts), numbers.pattern).to_pylist() == [t in found for t in texts]


def test_only_what_differs_from_what_is_declared_has_to_be_written():
    decimal, thousands = 'decimal = ","', 'thousands = "."'
    assert GROUPS.changes(PLAIN) == (decimal, thousands)
    assert GROUPS.changes(COMMA) == (thousands,)
    assert COMMA.changes(PLAIN) == (decimal,)
    assert COMMA.changes(COMMA) == ()
    assert PLAIN.changes(GROUPS) == ('decimal = "."', 'thousands = ""')


def test_how_a_file_was_read_is_said_in_words():
    dialect = Dialect("\t", "utf-8")
    assert dialect.in_words(PLAIN) == 'delimiter "\\t", decimal ".", encoding "utf-8"'
    assert dialect.in_words(Numbers(",", "\u202f")) == (
        'delimiter "\\t", decimal ",", encoding "utf-8", thousands "\u202f"'
    )


def test_the_form_of_a_text_says_nothing_of_what_it_says():
    assert form("Ann-B7, 10\u00b0 \u00e9") == "xxx-x9, 99\u00b0 x"
    assert form("1" * 50) == "9" * 40
