"""How values from JSON become the array of one input, at every limit of its dtype."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import Corrupt
from registry.records import TensorSpec
from serving.errors import Refused
from serving.protocols import fields
from serving.protocols.fields import Field, field_of, number_text, range_text

MAX_TEXT = 10_000
EXACT = 2**53


def where(i):
    return f"instances[{i}]"


def field(dtype, *shape, low=None, high=None):
    return field_of(TensorSpec("x", (None, *shape), dtype, low=low, high=high))


def read(given, values, *, plain=True):
    return given.read(values, where, plain=plain)


def refused(given, values, *, plain=True):
    with pytest.raises(Refused) as error:
        read(given, values, plain=plain)
    return str(error.value)


LIMITS = {dtype: (np.iinfo(dtype).min, np.iinfo(dtype).max) for dtype in ("int8", "uint8", "int32", "int64", "uint64")}


@pytest.mark.parametrize(("dtype", "low", "high"), [(name, *limits) for name, limits in LIMITS.items()])
def test_the_limits_of_a_whole_number_are_taken_and_one_beyond_is_refused(dtype, low, high):
    whole = field(dtype)
    for plain in (True, False):
        np.testing.assert_array_equal(read(whole, [low, high], plain=plain), np.array([low, high], dtype))
        assert "instances[1]" in refused(whole, [low, high + 1], plain=plain)
        assert "is out of range" in refused(whole, [low - 1], plain=plain)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_64_bit_number_stays_what_it_is(number):
    assert read(field("int64"), [number, 1]).tolist() == [number, 1]
    assert read(field("int64", 2), [[1, number]]).tolist() == [[1, number]]


@pytest.mark.parametrize("number", [EXACT - 1, EXACT, EXACT + 1, -EXACT, -EXACT - 1])
def test_numbers_around_what_is_exact_in_float64_are_exact(number):
    assert read(field("int64"), [number]).tolist() == [number]


def test_a_fraction_is_refused_for_a_whole_number_only():
    assert refused(field("int32"), [1, 2.5]) == "instances[1]: 2.5 is not a whole number"
    assert read(field("int32"), [1, 2.0]).dtype == np.int32
    assert read(field("uint8", 2), [[1, 2.0]]).tolist() == [[1, 2]]
    assert read(field("float32"), [2.5]).tolist() == [2.5]
    assert refused(field("uint16", 2), [[1, 2], [3, 0.5]]) == "instances[1][1]: 0.5 is not a whole number"


def test_bounds_of_the_signature_are_kept_to_the_number():
    bounded = field("float32", low=-1.0, high=2.0)
    assert read(bounded, [-1.0, 2.0]).tolist() == [-1.0, 2.0]
    assert refused(bounded, [0, 2.5]) == "instances[1]: 2.5 is out of range, -1 to 2 is allowed"
    assert "instances[0]" in refused(bounded, [-1.25])
    assert "instances[2]" in refused(bounded, [-1.0, 2.0, 2.5])
    assert "instances[2]" in refused(bounded, [-1.0, 2.0, -1.5])
    assert refused(bounded, [0, 3], plain=False) == "instances[1]: 3 is out of range, -1 to 2 is allowed"
    assert "null is not a number" in refused(bounded, [1.0, None])


def test_bounds_wider_than_the_dtype_are_those_of_the_dtype():
    assert (field("uint8", low=-5, high=1000).low, field("uint8", low=-5, high=1000).high) == (0, 255)
    assert (field("uint8", low=5, high=9).low, field("uint8", low=5, high=9).high) == (5, 9)


def test_octets_are_read_whatever_their_shape():
    grey = field("uint8", 2, None)
    assert read(grey, [[[1, 2, 3], [4, 5, 255]]]).tolist() == [[[1, 2, 3], [4, 5, 255]]]
    assert "instances[0]" in refused(grey, [[[1, 2, 256], [4, 5, 6]]])
    assert "lists of different lengths" in refused(grey, [[[1, 2], [4]]])
    assert "values, 2 are expected" in refused(grey, [[[1], [2], [3]]])
    assert read(field("float32", 2, low=0, high=255), [[0, 255]]).dtype == np.float32
    assert "instances[0][1]" in refused(field("float32", 2, low=0, high=254), [[0, 255]])
    assert "instances[0][0]" in refused(field("float32", 2, low=1, high=255), [[0, 255]])


@pytest.mark.parametrize(
    ("low", "high", "used"),
    [(0, 255, True), (1, 255, True), (0, 254, True), (-1, 255, False), (0, 256, False)],
)
def test_the_quick_way_of_octets_is_taken_where_all_values_are_octets(low, high, used, monkeypatch):
    asked = []
    monkeypatch.setattr(fields, "_octets", lambda values, shape: asked.append((values, shape)))
    assert read(field("float32", 2, low=low, high=high), [[1, 2]]).tolist() == [[1, 2]]
    assert asked == ([([[1, 2]], (2,))] if used else [])
    asked.clear()
    assert read(field("uint8"), [1, 2]).tolist() == [1, 2]
    assert not asked


def test_octets_are_lists_of_one_shape_with_whole_numbers_from_0_to_255():
    found = fields._octets([[[0, 1], [2, 255]]], (None, 2))
    assert (found.dtype, found.tolist()) == (np.uint8, [[[0, 1], [2, 255]]])
    for values, shape in (
        ([[1, 2], [3]], (None,)),
        ([[1, 2]], (3,)),
        ([[]], (None,)),
        ([[256]], (1,)),
        ([[-1]], (1,)),
        ([[0.5]], (1,)),
        ([1], (1,)),
    ):
        assert fields._octets(values, shape) is None


@pytest.mark.parametrize("shape", [(None,), (2, None)])
def test_an_empty_list_is_a_wrong_shape(shape):
    empty = [[]] if len(shape) == 1 else [[[], []]]
    for plain in (True, False):
        assert "instances[0]: shape" in refused(field("float32", *shape), empty, plain=plain)
        assert "instances[0]: shape" in refused(field("uint8", *shape), empty, plain=plain)


def test_a_wrong_shape_is_named_with_the_one_that_is_expected():
    pair = field("float32", 2)
    assert refused(pair, [[1, 2, 3]]) == "instances[0]: 3 values, 2 are expected (shape 2)"
    assert refused(pair, [1, 2]) == "instances[0]: 1, a list of shape 2 is expected"
    assert "instances[0]" in refused(pair, [[[1], [2]]])
    assert "instances[1]" in refused(field("float32"), [1, [2]])


def test_true_and_false_are_the_only_values_of_a_bool_input():
    flag = field("bool", 2)
    found = read(flag, [[True, False]])
    assert (found.dtype, found.tolist()) == (np.bool_, [[True, False]])
    for other in (1, 0, "true", None, 0.0):
        assert "is not true or false" in refused(flag, [[True, other]])
    assert read(field("bool"), [True, False]).tolist() == [True, False]


def test_what_is_not_a_number_is_shown():
    for value in ("1", True, {}):
        assert "is not a number" in refused(field("float32"), [value], plain=False)


def test_texts_are_taken_up_to_their_longest():
    text = field("string")
    assert read(text, ["a", "b" * MAX_TEXT]).tolist() == ["a", "b" * MAX_TEXT]
    assert f"{MAX_TEXT + 1} characters, {MAX_TEXT} are allowed" in refused(text, ["b" * (MAX_TEXT + 1)])
    assert refused(text, ["a", 1]) == "instances[1]: 1 is not a string"
    assert read(field("string", 2), [["a", "b"]]).shape == (1, 2)
    assert "instances[1]" in refused(text, ["b" * MAX_TEXT, 1])
    assert "instances[0][1]" in refused(field("string", 2), [["a", 2]])


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "object", "resource", "variant"])
def test_a_dtype_that_no_request_can_carry_is_refused_with_its_name(dtype):
    with pytest.raises(Corrupt, match=r"input x: dtype .* cannot be sent in a request"):
        field(dtype)


def test_a_shape_of_its_own_replaces_that_of_the_signature():
    spec = TensorSpec("x", (None, 4, 4, 1), "uint8")
    assert field_of(spec).shape == (4, 4, 1)
    assert field_of(spec, (4, 4)) == Field("x", (4, 4), "uint8", 0, 255)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (255.0, "255"),
        (-1.0, "-1"),
        (0.5, "0.5"),
        (1e300, "1e+300"),
        (EXACT - 1, str(EXACT - 1)),
        (2.0**53, "9.007e+15"),
    ],
)
def test_a_limit_is_shown_as_people_write_it(number, text):
    assert number_text(number) == text


def test_a_number_out_of_range_is_shown_as_it_was_sent():
    assert "256 is out of range" in refused(field("uint8"), [256.0])
    assert "1e+300 is more than float32 can hold" in refused(field("float32"), [1e300])
    assert f"{float(2**53)!r} is out of range" in refused(field("int32"), [float(2**53)])
    assert math.isinf(field("string").high)


def test_values_that_are_good_are_not_walked(monkeypatch):
    monkeypatch.setattr(Field, "_walk_all", lambda *_: pytest.fail("walked"))
    assert read(field("float32", 2), [[1, 2.5]]).tolist() == [[1, 2.5]]
    assert read(field("uint8", 2), [[1, 255]]).tolist() == [[1, 255]]
    assert read(field("string"), ["a", "b" * MAX_TEXT]).tolist() == ["a", "b" * MAX_TEXT]


def test_numbers_in_the_dtype_of_the_field_are_not_copied():
    given = np.array([1.0, 2.0])
    assert field("float64").bounded(given, where) is given


def category(*vocabulary):
    return field_of(TensorSpec("x", (None,), "string"), vocabulary=vocabulary)


@pytest.mark.parametrize(
    ("vocabulary", "sent", "known"),
    [
        (("True", "1.0", "yes"), [True, 1, "yes "], ["True", "1.0", "yes"]),
        (("1", "1.0"), ["1", "1.0"], ["1", "1.0"]),
        (("yes",), ["no ", "yes"], ["no ", "yes"]),
        (("a" * 9_990,), ["a" * 9_990 + " " * 10], ["a" * 9_990]),
    ],
    ids=["values of JSON", "two spellings that are two values", "unknown", "the longest text"],
)
def test_a_category_is_taken_as_the_model_knows_it(vocabulary, sent, known):
    assert read(category(*vocabulary), sent).tolist() == known


def test_what_is_no_category_is_refused_as_it_was_sent():
    assert refused(category("yes"), ["yes", 7]) == (
        "instances[1]: 7 is not a string, nor a value that the model knows in this column"
    )
    for other in (["yes"], {"yes": 1}, None):
        assert "is not a string, nor a value" in refused(category("None", "['yes']", "{'yes': 1}"), [other])
    assert "10001 characters" in refused(category("a"), ["a" + " " * MAX_TEXT])


def test_categories_are_not_shown_with_the_field():
    assert "secret" not in repr(category("secret"))


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        ("string", "7", "7"), ("string", " a ", " a "),
        ("float32", " 7 ", 7), ("float32", "[1, 2.5]", [1, 2.5]), ("bool", "true", True), ("int32", "seven ", "seven "),
    ],
)  # fmt: skip
def test_what_a_person_writes_is_a_number_where_one_is_wanted_and_can_be_read(dtype, text, value):
    found = field(dtype).from_text(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("dtype", "low", "high", "bounds"),
    [
        ("string", None, None, (None, None)),
        ("bool", None, None, (None, None)),
        ("uint8", None, None, (0, 255)),
        ("int8", None, 5, (-128, 5)),
        ("int16", None, None, (None, None)),
        ("int16", 0, None, (0, None)),
        ("float32", None, 1.0, (None, 1.0)),
    ],
)
def test_bounds_are_shown_where_they_say_more_than_the_dtype(dtype, low, high, bounds):
    assert field(dtype, low=low, high=high).bounds() == bounds


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0, 255, "0 to 255"), (0, None, "at least 0"), (None, 0.5, "at most 0.5"), (None, None, "")],
)
def test_bounds_are_written_as_far_as_there_are_some(low, high, text):
    assert range_text(low, high) == text


def hint_of(given, value):
    with pytest.raises(Refused) as error:
        read(given, [value], plain=False)
    return error.value.hint


@pytest.mark.parametrize("sent", ["46.1", "46,1", " 46,1 "])
def test_a_number_that_comes_as_a_text_is_shown_as_it_should_be(sent):
    assert hint_of(field("float32"), sent) == "send 46.1: a number has a point, and no quotes in JSON"


@pytest.mark.parametrize("sent", ["-", "1e", "46,1,2", "n/a", True, [1]])
def test_no_number_is_suggested_for_what_is_none(sent):
    assert hint_of(field("float32"), sent) == ""


def test_what_is_missing_is_shown_as_null_only_where_it_may_be():
    holes = field_of(TensorSpec("x", (None,), "float32", may_miss=True))
    assert "null in JSON" in hint_of(holes, "-")
    assert hint_of(field("float32"), None) == "the model takes no missing values here: send one"
    assert hint_of(category("yes"), None) == "the model takes no missing values here: send one"
