"""What users call their columns, and what tools that cannot carry such a name call them."""

import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records import TensorSpec, with_tensor_names
from registry.records.names import keras_name, tensor_name_of_old, tensor_names

COLUMNS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, min_size=1, max_size=12)


@given(COLUMNS)
def test_every_name_has_one_in_the_served_file_that_tensorflow_carries(names):
    found = tensor_names(names)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", each) and not keyword.iskeyword(each) for each in found)
    assert len({each.lower() for each in found}) == len(names)
    assert "self" not in found


@given(COLUMNS)
def test_every_name_has_one_that_keras_carries_and_no_two_share_it(names):
    found = [keras_name(each) for each in names]
    assert not any("/" in each or "\0" in each or not each for each in found)
    assert len(set(found)) == len(names)
    assert all(" " in each or each == "column" for each in found)  # so no layer is called like that by itself


def test_a_name_that_tensorflow_carries_stays():
    assert tensor_names(["age", "Sepal_Length", "a1"]) == ("age", "Sepal_Length", "a1")


@pytest.mark.parametrize("names", [["_id"], ["self"], ["A", "a"], ["None"], ["km/h"], ["größe"], ["1st"], [""], [" "]])
def test_other_names_are_replaced(names):
    assert not set(tensor_names(names)) & set(names)


def test_a_signature_of_an_earlier_version_is_read_by_the_rule_of_its_time():
    assert [TensorSpec(name, (None, 1), "float32").tensor for name in ("age", "_id", "A")] == ["age", "_id", "A"]
    assert TensorSpec("km/h", (None, 1), "float32").tensor == tensor_name_of_old("km/h") == tensor_names(["km/h"])[0]


def test_the_signature_keeps_the_users_names_and_says_what_the_file_calls_them():
    specs = with_tensor_names([TensorSpec(name, (None, 1), "float32") for name in ("_id", "b", "B", "c")])
    assert [each.name for each in specs] == ["_id", "b", "B", "c"]
    assert [each.tensor for each in specs] == list(tensor_names(["_id", "b", "B", "c"]))
    assert specs[3].tensor_name == ""
