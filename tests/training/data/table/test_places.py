"""What rows without a key are called, one by one, all together and in a prepared split."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.table import places
from training.data.table.places import Places, as_json, chosen

CALLED = ["a.csv line", 'with "quotes" \\ and é.csv line', "\udcff.parquet row index"]
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**40)), max_size=30)


def of(rows):
    files, numbers = (np.array([row[i] for row in rows], kind) for i, kind in enumerate((np.int32, np.int64)))
    return Places(CALLED, files, numbers), [f"{CALLED[file]} {number}" for file, number in rows]


@given(ROWS)
def test_they_are_texts_in_a_sequence(rows):
    found, texts = of(rows)
    assert list(found) == [found[i] for i in range(len(rows))] == found[:] == texts
    assert len(found) == len(texts)
    assert found[1:] == texts[1:]


@given(ROWS, st.integers(1, 9), st.randoms())
def test_their_json_is_that_of_a_list(rows, together, chance):
    found, texts = of(rows)
    order = chance.sample(range(len(rows)), len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "TOGETHER", together)
        assert as_json(found) == json.dumps(texts).encode()
        assert as_json(chosen(found, np.array(order, np.int64))) == json.dumps([texts[i] for i in order]).encode()


def test_names_of_their_own_are_chosen_and_written_likewise():
    assert chosen(["é", "b", "c"], np.array([2, 0])) == ["c", "é"]
    assert as_json(["c", "é"]) == b'["c", "\\u00e9"]'
