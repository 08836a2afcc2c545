"""The split of a sample depends on its key alone."""

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.data.dataset_toml import DatasetFile, Fractions, Images, Npz, Table
from training.data.spec import SPLITS
from training.data.split import apart, hashes, shuffled, split_of, split_rule, splits_of

KEYS = st.lists(st.text(), unique=True, max_size=40)
FRACTIONS = st.builds(Fractions, st.floats(0.01, 0.49), st.floats(0.01, 0.49))


@given(KEYS, KEYS, FRACTIONS)
def test_adding_samples_moves_no_sample(old, new, fractions):
    before = {key: split_of(key, fractions) for key in old}
    after = {key: split_of(key, fractions) for key in [*new, *old]}
    assert before.items() <= after.items()


@given(st.text(), FRACTIONS)
def test_text_and_its_bytes_are_the_same_key(key, fractions):
    assert split_of(key, fractions) == split_of(key.encode(), fractions) in SPLITS


@given(st.text(), FRACTIONS, st.floats(0.01, 0.49))
def test_a_larger_holdout_takes_samples_but_gives_none_back(key, fractions, larger):
    assume(larger >= fractions.holdout)
    if split_of(key, fractions) == "holdout":
        assert split_of(key, Fractions(fractions.validation, larger)) == "holdout"


@pytest.mark.parametrize("fractions", [Fractions(), Fractions(0.3, 0.1), Fractions(0.05, 0.5)], ids=str)
def test_fractions_hold_on_average(fractions):
    found = [split_of(f"class/{i}.png", fractions) for i in range(20_000)]
    assert found.count("validation") / 20_000 == pytest.approx(fractions.validation, abs=0.015)
    assert found.count("holdout") / 20_000 == pytest.approx(fractions.holdout, abs=0.015)


@given(st.text())
def test_a_sample_on_the_limit_of_a_split_belongs_to_the_next(key):
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    assert split_of(key, Fractions(validation=0.0, holdout=number)) == "train"
    assert split_of(key, Fractions(validation=number, holdout=0.0)) == "train"
    assert split_of(key, Fractions(validation=1.0, holdout=number)) == "validation"


@given(KEYS, FRACTIONS)
def test_the_rule_is_a_number_between_0_and_1_that_is_compared(keys, fractions):
    """As it was written when the first splits were recorded, key by key."""

    def rule(key):
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        if number < fractions.holdout:
            return "holdout"
        return "validation" if number < fractions.holdout + fractions.validation else "train"

    assert splits_of(hashes(keys), fractions) == [rule(key) for key in keys]


@pytest.mark.parametrize("number", [0, 1, 2**62, 2**63 - 1, 2**63, 2**64 - 2**10, 2**64 - 1])
@pytest.mark.parametrize("share", [0.0, 2**-64, 0.1, 0.25, 0.5, 1.0, 1.5])
def test_hashes_at_the_limits_of_what_a_float_can_hold(number, share):
    found = splits_of([number.to_bytes(8, "big") + bytes(24)], Fractions(validation=0.0, holdout=share))
    assert found == ["holdout" if number / 2**64 < share else "train"]


def test_the_rule_never_changes():
    """A changed rule would leak old holdouts into training: these were written down once."""
    assert [split_of(f"{i}", Fractions()) for i in range(12)] == RECORDED


@given(KEYS)
def test_shuffled_is_a_permutation_that_depends_on_the_keys_alone(keys):
    order = shuffled(hashes(keys))
    assert sorted(order) == list(range(len(keys)))
    turned = keys[::-1]
    assert [keys[i] for i in order] == [turned[i] for i in shuffled(hashes(turned))]


RECORDED = [
    "train",
    "train",
    "train",
    "train",
    "validation",
    "train",
    "train",
    "train",
    "validation",
    "holdout",
    "validation",
    "train",
]


RULES = [
    DatasetFile("images", Images()),
    DatasetFile("images", Images(group="(.+)-")),
    DatasetFile("images", Images(), split=Fractions(holdout=0.3)),
    DatasetFile("images", Images(), split=Fractions(validation=0.3)),
    DatasetFile("table", Table(("a.csv",), "y")),
    DatasetFile("table", Table(("a.csv",), "y", key="id")),
    DatasetFile("table", Table(("a.csv",), "y", key="name")),
    DatasetFile("table", Table(("a.csv",), "y", group="id")),
    DatasetFile("npz", Npz(x=("a", "b"))),
    DatasetFile("npz", Npz(x=("b", "a"))),
    DatasetFile("npz", Npz(group="who")),
    DatasetFile("table", Table(("a.csv",), "y", duplicates="allow")),
    DatasetFile("npz", Npz(x=("a", "b"), duplicates="allow")),
]


def test_every_rule_of_the_split_has_a_text_of_its_own():
    assert len({split_rule(each) for each in RULES}) == len(RULES)
    assert split_rule(RULES[0]) == "holdout 0.15, validation 0.15, by file name"
    assert split_rule(RULES[4]) == "holdout 0.15, validation 0.15, by content"
    assert split_rule(RULES[8]) == "holdout 0.15, validation 0.15, by content of a, b"


def test_what_does_not_move_a_sample_does_not_change_the_text():
    same = DatasetFile("table", Table(("a.csv", "b.csv"), "z", key="id", ignore=("w",), missing="drop"))
    assert split_rule(same) == split_rule(DatasetFile("table", Table(("a.csv",), "y", key="id")))
    grouped = DatasetFile("table", Table(("a.csv",), "y", key="id", group="house"))
    assert split_rule(grouped) == split_rule(DatasetFile("table", Table(("a.csv",), "y", group="house")))


def test_equal_samples_that_are_different_things_have_keys_of_their_own_and_unequal_ones_keep_theirs():
    digests, labels = [b"a", b"b", b"a", b"a", b"a"], ["no", "no", "yes", "no", "yes"]
    keys = apart(digests, labels)
    assert keys == [
        b"a",
        b"b",
        b"a",
        b"ano\x1f1",
        b"ayes\x1f1",
    ]  # of each label the first has the digest, others a number
    assert sorted(apart(digests[::-1], labels[::-1])) == sorted(keys)


def test_the_keys_of_equal_samples_are_counted_one_by_one_so_that_no_other_version_moves_them():
    assert apart([b"a"] * 4, ["no"] * 4) == [b"a", b"ano\x1f1", b"ano\x1f2", b"ano\x1f3"]
