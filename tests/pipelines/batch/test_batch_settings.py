"""What differs between the settings of a batch that was begun and those that are wanted, by the names of the settings."""

from dataclasses import replace

from pipelines.batch.records import BatchSettings, differences
from serving.batch.job import TextRules

BEGUN = BatchSettings("digits", 1, "0" * 64, (), "csv", 10, None, TextRules(), 1)


def test_each_rule_of_text_files_is_named_as_in_the_settings():
    wanted = replace(BEGUN, text=TextRules(delimiter=";", decimal=",", na=("-",)))
    assert differences(BEGUN, wanted) == [
        '[batch] delimiter: "", now ";"',
        '[batch] decimal: ".", now ","',
        '[batch] na: [], now ["-"]',
    ]
    assert differences(wanted, wanted) == []
