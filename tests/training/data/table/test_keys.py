"""What rows are known by is what it has always been: recorded splits, and what is kept of holdouts, rest on it."""

import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from registry.spelling import canonical
from training.data.checks import Checks
from training.data.dataset_toml import DatasetFile, Fractions, Table
from training.data.spec import SPLITS, PrepareJob, load_split
from training.data.split import shuffled
from training.data.table import keys
from training.data.table.columns import Feature, categories
from training.data.table.keys import numbers_as_text, order_of, row_digests
from training.data.table.prepare import prepare, read_content
from training.data.table.read import read_rows

FRACTIONS = Fractions(holdout=0.3, validation=0.3)
EDGES = [
    0.0,
    -0.0,
    0.1,
    1e-4,
    9.999e-5,
    1e-5,
    1e-7,
    1e-45,
    1e10,
    123456789012,
    1e15,
    9.9e15,
    1e16,
    2**53,
    3.4e38,
    16777217,
]
NUMBERS = st.floats(width=32, allow_infinity=False) | st.sampled_from([np.float32(each) for each in EDGES])
TEXTS = (
    st.none()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        [
            "1",
            "1.0",
            "01",
            "-0",
            "1e5",
            "9007199254740993",
            "\u00e9",
            "e\u0301",
            "true",
            "NaN",
            "\x1f",
            "a=b",
            "\U0001f600",
        ]
    )
)


def digests_row_by_row(features, rows):
    """The rule as it was written when the first splits were recorded."""
    found = []
    for row in rows:
        texts = []
        for feature in sorted(features, key=lambda each: each.name):
            if feature.missing[row]:
                text = ""
            elif feature.kind == "numeric":
                text = repr(float(np.float32(feature.values[row])) + 0.0)
            else:
                text = canonical(feature.texts[feature.values[row]])
            texts.append(f"{feature.name}={text}")
        found.append(hashlib.sha256("\x1f".join(texts).encode()).digest())
    return found


def keys_row_by_row(digests, labels):
    seen, found = Counter(), []
    for digest, label in zip(digests, labels, strict=True):
        number = seen[digest, label]
        seen[digest, label] += 1
        found.append(digest + f"{label}\x1f{number}".encode() if number else digest)
    return found


def split_row_by_row(key):
    raw = key.encode() if isinstance(key, str) else key
    number = int.from_bytes(hashlib.sha256(raw).digest()[:8], "big") / 2**64
    if number < FRACTIONS.holdout:
        return "holdout"
    return "validation" if number < FRACTIONS.holdout + FRACTIONS.validation else "train"


@given(st.lists(NUMBERS, max_size=60))
@settings(max_examples=50, deadline=None)
def test_numbers_are_written_as_python_writes_them(values):
    numbers = np.array(values, np.float32)
    wanted = ["" if np.isnan(each) else canonical(float(each)) for each in numbers]
    assert numbers_as_text(numbers).to_pylist() == [f"{each}{keys.END}" for each in wanted]


def test_so_are_many_numbers_of_all_sizes():
    bits = np.random.default_rng(1).integers(0, 2**32, 20_000, np.uint32).view(np.float32)
    values = np.concatenate([bits[np.isfinite(bits)], np.arange(-9999, 9999, 7, np.float32) / 8, np.float32(EDGES)])
    assert numbers_as_text(values).to_pylist() == [f"{each + 0.0!r}{keys.END}" for each in values.tolist()]


@st.composite
def features(draw):
    rows = draw(st.integers(1, 40))
    names = draw(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=5, unique=True)
    )
    found = []
    for name in names:
        if draw(st.booleans()):
            found.append(
                Feature(
                    name, "numeric", draw(arrays(np.float64, rows, elements=st.floats(-3e38, 3e38) | st.just(np.nan)))
                )
            )
        else:
            texts = draw(st.lists(TEXTS.filter(lambda each: each != ""), min_size=rows, max_size=rows))
            found.append(Feature(name, "categorical", *categories(pa.chunked_array([pa.array(texts, pa.string())]))))
    return found, draw(st.lists(st.integers(0, rows - 1), unique=True))


@given(features(), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_the_digests_of_rows_are_those_that_were_recorded(given_features, rows_at_a_time):
    found, rows = given_features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "ROWS", rows_at_a_time)
        digests, again = row_digests(found, np.array(rows, np.int64))
    assert digests == digests_row_by_row(found, rows)
    assert again == [hashlib.sha256(each).digest() for each in digests]


def test_long_texts_do_not_overflow_what_is_written_at_a_time(monkeypatch):
    monkeypatch.setattr(keys, "BYTES", 100)
    texts = [f"{i}" * 200 for i in range(9)]
    feature = Feature("a", "categorical", *categories(pa.chunked_array([texts])))
    assert row_digests([feature], np.arange(9))[0] == digests_row_by_row([feature], range(9))


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), bytes(31) + b"a", b"\xff" * 32])))
def test_the_order_of_rows_is_that_of_their_hashes(hashes):
    assert order_of(hashes).tolist() == shuffled(hashes)


@st.composite
def tables(draw):
    """Columns of Parquet with all kinds of values, among them equal rows and gaps."""
    rows = draw(st.integers(12, 40))
    kinds = {
        "float": (pa.float64(), st.floats(-3e38, 3e38) | st.sampled_from(EDGES[:9])),
        "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
        "small": (pa.float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        "bool": (pa.bool_(), st.booleans()),
        "text": (pa.string(), st.sampled_from(["red", "blue", "\u00e9", "1", "x\x1fy", "\U0001f600"])),
        "coded": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b", "c"])),
    }
    names = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, unique=True))
    columns = {}
    for name in names:
        kind, values = kinds[name]
        holes = values | st.none() if draw(st.booleans()) else values
        columns[name] = pa.array(draw(st.lists(holes, min_size=rows, max_size=rows)), kind)
    columns["kind"] = draw(st.lists(st.sampled_from(["cat", "dog"]), min_size=rows, max_size=rows))
    columns["of"] = draw(st.lists(st.sampled_from(["g", "h", "1", "\u00e9\u00e9", "j"]), min_size=rows, max_size=rows))
    columns["id"] = [f"k{i}" for i in range(rows)]
    return columns


@given(tables(), st.sampled_from([{}, {"key": "id"}, {"group": "of"}]), st.sampled_from(["keep", "drop"]))
@settings(max_examples=25, deadline=None)
def test_rows_are_in_the_splits_and_in_the_order_that_were_recorded(tmp_path_factory, columns, roles, missing):
    folder = tmp_path_factory.mktemp("table")
    parquet.write_table(pa.table(columns), folder / "data.parquet")
    others = tuple({"id", "of"} - set(roles.values()))
    table = Table(
        ("*.parquet",), "kind", ignore=others, missing=missing, duplicates="allow", spellings="distinct", **roles
    )
    checks = Checks()
    (folder / "out").mkdir()
    samples = prepare(
        folder, DatasetFile("table", table, split=FRACTIONS), folder / "out", checks, PrepareJob(files=False)
    )
    if not samples.splits:  # a column without any value
        return
    content = read_content(read_rows(folder, table, Checks()), table, Checks())
    gaps = np.any([each.missing for each in content.features], axis=0)
    kept = [row for row in range(len(gaps)) if missing == "keep" or not gaps[row]]
    digests, labels = digests_row_by_row(content.features, kept), [columns["kind"][row] for row in kept]
    named = [columns["id"][row] for row in kept] if "key" in roles else keys_row_by_row(digests, labels)
    sides = [split_row_by_row(each) for each in ([columns["of"][row] for row in kept] if "group" in roles else named)]
    assert (samples.contents, samples.splits, samples.labels) == (digests, sides, labels)
    if checks.failed:  # a class that a split lacks
        return
    raw = [each.encode() if isinstance(each, str) else each for each in named]
    order = sorted(range(len(kept)), key=lambda i: hashlib.sha256(raw[i]).digest())
    for split in SPLITS:
        assert list(load_split(folder / "out" / split).names) == [samples.names[i] for i in order if sides[i] == split]
