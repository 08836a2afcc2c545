"""Which samples a slice has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import ConfigError
from training.slices import missing_columns, rows_of_slices, slice_names

X = {
    "island": np.array([["Dream"], ["Biscoe"], ["Dream"], ["1"]]),
    "mass": np.array([[1.5], [3.0], [0.1], [np.nan]], np.float32),
    "pixels": np.zeros((4, 2, 2)),
}


def test_samples_are_chosen_by_values_and_ranges():
    slices = {"island": ("Dream", "Torgersen", "1"), "mass": ("3", "0.1", "..1.5", "1.5..", "1..3")}
    found = {name: each.tolist() for name, each in rows_of_slices(slices, X).items()}
    assert found == {
        "island=Dream": [0, 2],
        "island=Torgersen": [],
        "island=1": [3],
        "mass=3": [1],
        "mass=0.1": [2],
        "mass=..1.5": [2],
        "mass=1.5..": [0, 1],
        "mass=1..3": [0],
    }
    assert tuple(found) == slice_names(slices)
    among = np.array([False, True, True, True])
    assert rows_of_slices({"island": ("Dream", "1")}, X, among)["island=Dream"].tolist() == [1], "counted among these"


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30), st.floats(-1e6, 1e6))
def test_ranges_that_meet_share_the_samples_out(numbers, middle):
    x = {"a": np.array(numbers, np.float32)[:, None]}
    below, above = rows_of_slices({"a": (f"..{middle!r}", f"{middle!r}..")}, x).values()
    assert sorted([*below, *above]) == list(range(len(numbers)))


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ({"isle": ("Dream",)}, "no input column 'isle'; it has 'island', 'mass'"),
        ({"pixels": ("0",)}, "no input column 'pixels'"),
        ({"mass": ("heavy",)}, "mass: 'heavy' is not a number, and the column holds numbers"),
        ({"mass": ("1..heavy",)}, "'1..heavy' is not a number"),
    ],
)
def test_a_slice_that_cannot_be_is_refused(slices, words):
    with pytest.raises(ConfigError, match=words):
        rows_of_slices(slices, X)


def test_without_columns_there_is_nothing_to_slice_by():
    assert missing_columns({"island": ("Dream",)}, []).endswith("it has none")
    assert missing_columns({}, []) == ""
