"""How text files are read, and what differs between the settings of a batch that was begun and those that are wanted, by the names of the settings."""

from dataclasses import replace

import pytest

from pipelines.batch.records import BatchSettings, differences
from pipelines.commands.batch import in_words, text_rules
from pipelines.config.serving_sections import Batch
from registry.errors import ConfigError
from registry.records import TextRules

BEGUN = BatchSettings("digits", 1, "0" * 64, (), "csv", 10, None, TextRules(), 1)


def test_each_rule_of_text_files_is_named_as_in_the_settings():
    wanted = replace(BEGUN, text=TextRules(delimiter=";", decimal=",", na=("-",)))
    assert differences(BEGUN, wanted) == [
        '[batch] delimiter: "", now ";"',
        '[batch] decimal: ".", now ","',
        '[batch] na: [], now ["-"]',
    ]
    assert differences(wanted, wanted) == []


def test_text_files_are_read_as_those_of_the_versions_dataset_but_for_what_the_settings_name():
    european = TextRules(";", ",", ".", "cp1252", ("-",), comment="#", skip_rows=2)
    assert text_rules(european, Batch()) == european
    assert text_rules(european, Batch(encoding="utf-8", na=(), skip_rows=0, comment="")) == TextRules(
        ";", ",", ".", "utf-8", ()
    )
    assert text_rules(None, Batch(quote="'")) == TextRules(quote="'")
    assert text_rules(None, Batch()) == TextRules()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (Batch(thousands=","), r"^\[batch\] thousands: ',' is \[batch\] decimal, too$"),
        (Batch(quote="''"), "is not one character"),
        (Batch(comment=";"), "a row, too, may begin with ';'"),
    ],
)
def test_what_does_not_go_with_the_dataset_is_refused(given, problem):
    with pytest.raises(ConfigError, match=problem):
        text_rules(TextRules(";", ","), given)


def test_what_is_read_otherwise_than_plain_csv_is_said_in_the_words_of_the_settings():
    assert in_words(TextRules(";", ",", na=("-",))) == 'delimiter = ";", decimal = ",", na = ["-"]'
