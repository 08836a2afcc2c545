"""The reference is one small file: read again it is what was written, and damaged it is refused."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.monitoring.calibration import calibrate
from retraining.monitoring.reference import BadReference, Reference, from_bytes, knots_for, to_bytes
from retraining.monitoring.sketches import categories, numbers
from retraining.monitoring.two_samples import kolmogorov_smirnov


def reference(columns, rows=2000, seed=0):
    random = np.random.default_rng(seed)
    knots = knots_for(columns)
    found = {f"inputs.c{i}": numbers(random.normal(size=rows) * 10.0**i, knots) for i in range(min(columns, 40))}
    found |= {f"inputs.c{i}": found["inputs.c0"] for i in range(40, columns)}
    confidence = random.random(rows)
    return Reference(
        rows,
        {**found, "class": categories(random.choice(["ham", "späm", "__proto__"], rows))},
        calibrate(confidence, random.random(rows) < confidence),
    )


def same(one, other):
    assert one.rows == other.rows
    assert one.columns.keys() == other.columns.keys()
    now = np.linspace(-3, 3, 400)
    for name, sketch in one.columns.items():
        if name == "class":
            assert other.columns[name] == sketch
        else:
            found = other.columns[name]
            assert kolmogorov_smirnov(sketch, now) == kolmogorov_smirnov(found, now)
            assert (sketch.count, sketch.missing) == (found.count, found.missing)
            assert all(
                np.array_equal(getattr(sketch, each), getattr(found, each)) for each in ("knots", "below", "upto")
            )


def test_what_was_written_is_read_again():
    written = reference(5)
    read = from_bytes(to_bytes(written))
    same(written, read)
    assert read.calibration.right.tolist() == written.calibration.right.tolist()
    assert to_bytes(written) == to_bytes(written)
    assert from_bytes(to_bytes(Reference(0, {}, None))) == Reference(0, {}, None)
    marked = Reference(3, {}, None, frozenset({0, 7, 2**64 - 1}))
    assert from_bytes(to_bytes(marked)) == marked


def test_numbers_of_32_bits_take_half_of_the_place_and_a_column_without_any_number_is_kept():
    random = np.random.default_rng(0)
    wide = random.normal(size=5000)
    columns = {"wide": numbers(wide), "narrow": numbers(wide.astype(np.float32)), "none": numbers([np.nan] * 9)}
    read = from_bytes(to_bytes(Reference(5000, columns, None)))
    same(
        Reference(5000, {name: columns[name] for name in ("wide", "narrow")}, None),
        Reference(5000, {name: read.columns[name] for name in ("wide", "narrow")}, None),
    )
    assert (read.columns["none"].missing, len(read.columns["none"].knots)) == (9, 0)
    sizes = [len(to_bytes(Reference(5000, {"a": columns[name]}, None))) for name in ("narrow", "wide")]
    assert sizes[0] < 0.7 * sizes[1]


@pytest.mark.parametrize(("columns", "most"), [(100, 250_000), (2000, 4_000_000)])
def test_it_is_small(columns, most):
    random = np.random.default_rng(1)
    sketches = {f"c{i}": numbers(random.normal(size=3000), knots_for(columns)) for i in range(columns)}
    data = to_bytes(Reference(3000, sketches, None))
    assert len(data) <= most


@given(st.data())
def test_any_altered_byte_is_refused_or_changes_nothing_that_would_end_in_another_error(data):
    good = to_bytes(reference(2, rows=50))
    place = data.draw(st.integers(0, len(good) - 1))
    bad = good[:place] + bytes([good[place] ^ data.draw(st.integers(1, 255))]) + good[place + 1 :]
    try:
        from_bytes(bad)
    except BadReference as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data):
    with pytest.raises(BadReference, match="damaged"):
        from_bytes(data)


def test_a_later_format_is_named():
    head = np.frombuffer(b'{"reference": 2}', dtype=np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, head=head)
    with pytest.raises(BadReference, match="format 2, and this version of Trainyard reads 1"):
        from_bytes(file.getvalue())
