"""`metrics.json` of a team's own script: kept as it is, or refused with the entry that is wrong."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text.markup import Table
from pipelines.text.metrics import REPORTED, blocks
from registry import codec
from registry.errors import ConfigError, Corrupt
from registry.records import Evaluation, Metrics
from training.reported import FILE, MOST_BYTES, must_hold, read_reported


def written(folder, text):
    (folder / FILE).write_text(text, encoding="utf-8")
    return read_reported(folder)


def test_numbers_are_kept_by_name(tmp_path):
    assert read_reported(tmp_path) == {}
    assert written(tmp_path, '{"val auc": 0.93, "epochs": 7, "é": -1e300}') == {
        "val auc": 0.93,
        "epochs": 7.0,
        "é": -1e300,
    }
    assert written(tmp_path, "{}") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[" * 30_000, "not JSON"),
        ("[1]", "it is not one object"),
        (json.dumps({str(i): i for i in range(101)}), "at most 100 numbers"),
        ('{"a": "1"}', "a: '1' is not a number"),
        ('{"a": true}', "a: True is not a number"),
        ('{"a": null}', "a: None is not a number"),
        ('{"a": NaN}', "a: nan is not a finite number"),
        ('{"a": 1e999}', "a: inf is not a finite number"),
        ('{"a": 1' + "0" * 400 + "}", "is not a finite number"),
        ('{"": 1}', "'' is not a name"),
        ('{"a\\u0007": 1}', "is not a name"),
        (json.dumps({"a" * 65: 1}), "is not a name of at most 64"),
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path, text, words):
    with pytest.raises(ConfigError, match=r"the script.s metrics\.json") as error:
        written(tmp_path, text)
    assert words in str(error.value)
    assert "TRAINYARD_OUTPUT/metrics.json" in error.value.hint


def test_a_large_file_or_a_link_is_not_read(tmp_path):
    with pytest.raises(Corrupt):
        written(tmp_path, " " * (MOST_BYTES + 1))
    (tmp_path / FILE).unlink()
    os.symlink("/etc/hostname", tmp_path / FILE)
    with pytest.raises(Corrupt):
        read_reported(tmp_path)


def test_a_number_that_a_rule_names_must_be_there():
    must_hold({"auc": 1.0, "b": 2.0}, ["b"])
    must_hold({}, [])
    with pytest.raises(
        ConfigError, match=r"script:val auc: the training script has reported no 'val auc'; .*: 'auc', 'b'$"
    ):
        must_hold({"auc": 1.0, "b": 2.0}, ["b", "val auc"])
    with pytest.raises(ConfigError, match=r"nothing$") as error:
        must_hold({}, ["auc"])
    assert "$TRAINYARD_OUTPUT/metrics.json" in error.value.hint


@given(
    st.dictionaries(
        st.text("abc_ é", min_size=1, max_size=64), st.floats(allow_nan=False, allow_infinity=False), max_size=20
    )
)
def test_any_finite_numbers_come_back(tmp_path_factory, numbers):
    assert written(tmp_path_factory.mktemp("output"), json.dumps(numbers)) == numbers


def test_they_are_shown_apart_from_what_was_measured_and_kept_in_the_file():
    measured = Metrics("regression", 50, {"mae": 1.0})
    found = Evaluation(measured, reported={"val auc": 0.93, "new": 2.0}, live_reported={"val auc": 0.9})
    (table,) = (
        each
        for each in blocks(found, "mae", "version 2", "version 1")
        if isinstance(each, Table) and REPORTED in each.head
    )
    assert table.rows == (("val auc", "0.930", "0.900"), ("new", "2", ""))
    assert codec.from_json(Evaluation, codec.to_json(found), "result.json") == found
    assert not [
        each
        for each in blocks(Evaluation(measured), "mae", "a", "b")
        if isinstance(each, Table) and REPORTED in each.head
    ]
