"""From bodies to inputs, for models that need not exist."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from registry.records import Signature, TensorSpec
from serving.errors import Refused, did_you_mean
from serving.protocols import large, read_instances
from serving.protocols.read_images import MAX_PIXELS
from serving.protocols.read_instances import Reader
from training.data.spec import Column, DataSpec

OUTPUT = TensorSpec("y", (None, 1), "float32")


def reader(kind, *inputs):
    return Reader(Signature("regression", kind, inputs, (OUTPUT,)))


def png(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_many_images_that_are_large_when_decoded_are_refused_before_they_are():
    cameras = reader("image", TensorSpec("image", (None, None, None, 3), "float32"))
    broken = png(1000, 1000)[:200]  # its header is read, its pixels would be an error
    count = MAX_PIXELS // 10**6 + 1
    with pytest.raises(Refused, match=f"{count} images of {count}000000 pixels in all") as refused:
        cameras.images([broken] * count, 64)
    assert (refused.value.status, refused.value.hint) == (413, "send them in parts")


def test_large_images_are_decoded_by_one_request_at_a_time(monkeypatch):
    cameras = reader("image", TensorSpec("image", (None, None, None, 3), "uint8"))
    files = [png(1000, 1000)] * 2

    class Watched:
        held = False

        def __enter__(self):
            Watched.held = True

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(large, "_one_large", Watched())
    assert cameras.images([png(8, 8)] * 2, 64)[1] == 2
    assert not Watched.held
    assert cameras.images(files, 64)[0]["image"].shape == (2, 1000, 1000, 3)
    assert Watched.held


def jpeg_of_many_scans(width, height, count):
    """A progressive JPEG whose last scan is repeated: each repetition is a pass over all pixels, and takes a few bytes."""
    file = io.BytesIO()
    Image.new("L", (width, height), 100).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def test_an_image_of_many_scans_is_refused_before_it_is_decoded(monkeypatch):
    cameras = reader("image", TensorSpec("image", (None, None, None, 1), "uint8"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("it was decoded"))
    heavy = jpeg_of_many_scans(4000, 4000, 20)
    assert len(heavy) < 80_000
    with pytest.raises(Refused, match="320000000 pixels to decode, counted once per scan") as refused:
        cameras.images([heavy], 64)
    assert refused.value.status == 413
    with pytest.raises(Refused, match="pixels to decode"):
        cameras.images([jpeg_of_many_scans(1000, 1000, 90)] * 3, 64)
    with pytest.raises(Refused, match="the image has 1000 scans, 100 are allowed"):
        cameras.images([jpeg_of_many_scans(100, 100, 1000)], 64)


def test_a_progressive_image_of_any_usual_size_is_taken():
    cameras = reader("image", TensorSpec("image", (None, None, None, 1), "uint8"))
    file = io.BytesIO()
    Image.new("L", (4096, 4096), 100).save(file, "JPEG", progressive=True)
    assert cameras.images([file.getvalue()], 64)[0]["image"].shape == (1, 4096, 4096, 1)
    assert cameras.images([jpeg_of_many_scans(16, 16, 100)] * 2, 64)[1] == 2


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
@pytest.mark.parametrize("row", [[2**53 + 1, 1.5], [1.5, 2**53 + 1]])
def test_a_fraction_is_refused_also_beside_a_large_whole_number(dtype, row):
    words = reader("array", TensorSpec("words", (None, 2), dtype))
    body = json.dumps({"instances": [[1, 2], row]}).encode()
    with pytest.raises(Refused, match=r"instances\[1\]\[[01]\]: 1.5 is not a whole number"):
        words.instances(body, 10)


def test_large_whole_numbers_stay_what_they_are():
    words = reader("array", TensorSpec("words", (None, 2), "int64"))
    inputs, _ = words.instances(json.dumps({"instances": [[2**53 + 1, -(2**63)]]}).encode(), 10)
    np.testing.assert_array_equal(inputs["words"], np.array([[2**53 + 1, -(2**63)]], np.int64))


@given(pixels=st.lists(st.integers(0, 255), min_size=12, max_size=12), size=st.sampled_from([(3, 4), (None, None)]))
def test_a_pixel_is_the_same_however_it_is_written(pixels, size):
    grey = reader("image", TensorSpec("image", (None, *size, 1), "float32"))
    whole = np.reshape(pixels, (1, 3, 4, 1))
    bodies = [{"instances": each.tolist()} for each in (whole, whole[..., 0], whole.astype(float))]
    for body in bodies:
        found = grey.instances(json.dumps(body).encode(), 10)[0]["image"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, whole)


def test_of_an_endless_name_only_the_start_is_compared():
    assert did_you_mean("a" * 200, ["a" * 80]) == f"did you mean '{'a' * 80}'?"


def member(*values, name="member"):
    """A table with a number and a category that has these values."""
    inputs = (TensorSpec("a", (None, 1), "float32"), TensorSpec(name, (None, 1), "string"))
    columns = (Column("a", "numeric"), Column(name, "categorical", vocabulary=values))
    data = DataSpec("table", "regression", inputs, (), columns)
    return Reader(Signature("regression", "table", inputs, (OUTPUT,)), data)


def sent(given, value, name="member"):
    body = json.dumps({"instances": [{"a": 0, name: value}]}).encode()
    return given.instances(body, 8)[0]


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE", " true"])
@pytest.mark.parametrize("known", [("false", "true"), ("False", "True")])
def test_a_truth_value_is_taken_as_json_has_it_and_as_the_file_has_it(value, known):
    assert sent(member(*known), value)["member"].tolist() == [[known[1]]]


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", "01"])
@pytest.mark.parametrize("known", [("1", "2"), ("1.0", "2.0"), ("01", "02")])
def test_a_number_that_is_a_category_is_taken_in_any_spelling(value, known):
    assert sent(member(*known), value)["member"].tolist() == [[known[0]]]


def test_a_category_is_taken_in_another_unicode_form_and_with_a_blank():
    assert sent(member("caf\u00e9", "bar"), "cafe\u0301 ")["member"].tolist() == [["caf\u00e9"]]


def test_a_spelling_that_two_categories_share_is_taken_as_it_is():
    both = member("1", "01")
    assert [sent(both, each)["member"].tolist()[0][0] for each in ("1", "01", "1.0")] == ["1", "01", "1.0"]
    with pytest.raises(Refused, match="1 is not a string, nor a value that the model knows in this column"):
        sent(both, 1)


def test_a_number_is_refused_where_two_categories_are_spellings_of_it():
    """JSON has one number 1, however it is written: which of the two is meant only a text can say."""
    both = member("1", "1.0")
    assert [sent(both, each)["member"].tolist()[0][0] for each in ("1", "1.0", "01")] == ["1", "1.0", "01"]
    for number in (1, 1.0):
        with pytest.raises(Refused, match="is not a string, nor a value that the model knows in this column"):
            sent(both, number)


def test_a_category_that_the_model_does_not_know_stays_what_it_is():
    assert sent(member("red", "blue"), "Green ")["member"].tolist() == [["Green "]]
    with pytest.raises(Refused, match=r"instances\[0\].member: true is not a string, nor a value"):
        sent(member("red", "blue"), True)
    with pytest.raises(Refused, match="null is not a string"):
        sent(member("red", "blue"), None)


def test_a_column_is_known_by_its_name_in_either_unicode_form():
    cafe = member("x", "y", name="caf\u00e9")
    assert sent(cafe, "x", "cafe\u0301").keys() == {"a", "caf\u00e9"}
    with pytest.raises(Refused, match="no such column"):
        sent(cafe, "x", "coffee")
    body = json.dumps({"instances": [{"a": 0, "caf\u00e9": "x", "cafe\u0301": "y"}]}).encode()
    with pytest.raises(Refused, match="no such column"):
        cafe.instances(body, 8)


def test_an_array_of_truth_values_takes_true_and_false():
    flags = reader("array", TensorSpec("x", (None, 2), "uint8", 0, 1))
    assert flags.instances(b'{"instances": [[true, false], [0, 1]]}', 8)[0]["x"].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(Refused, match="true is not a number"):
        reader("array", TensorSpec("x", (None, 2), "uint8")).instances(b'{"instances": [[true, false]]}', 8)


NUMBER = st.sampled_from(
    ["0", "-0", "-0.0", "7", "255", "256", "-1", "1.5", "1e2", "1E999", "1e-400", "01", "+1", "1.", "1e", "",
     "9007199254740993", "18446744073709551615", "18446744073709551616", "9" * 400, "true", "null", '"1"', "NaN", "[1]", "1 2"]
)  # fmt: skip


@given(
    rows=st.lists(st.lists(st.one_of(st.just("7"), NUMBER), min_size=1, max_size=3), max_size=3),
    head=st.sampled_from(['{"instances": [', '{"instances":[', '{"instanc es":[', '{"a":1,"instances":[', "["]),
    tail=st.sampled_from(["]}", "] }\n", "]} x", "]", '],"instances":[[1,2]]}', "]}\0"]),
    cut=st.integers(0, 80),
    mark=st.sampled_from(["", "", "[", "]", "3", ",", " "]),
    dtype=st.sampled_from(["float32", "float64", "uint8", "int32", "int64", "uint64"]),
    kind=st.sampled_from(["array", "image"]),
)
def test_numbers_are_read_quickly_or_slowly_with_the_same_result(rows, head, tail, cut, mark, dtype, kind):
    text = head + ",".join(f"[{','.join(row)}]" for row in rows) + tail
    body = (text[:cut] + mark + text[cut:]).encode()
    shape = (None, 2, 1) if kind == "image" else (None, 2)
    quick, slow = (reader(kind, TensorSpec("a", shape, dtype)) for _ in range(2))
    object.__setattr__(slow, "_quick", lambda _body: None)
    found = [outcome(each, body) for each in (quick, slow)]
    assert found[0] == found[1]


def outcome(reader, body):
    try:
        inputs, count = reader.instances(body, 2)
    except Refused as error:
        return error.status, str(error), error.hint
    return count, inputs["a"].dtype, inputs["a"].shape, inputs["a"].tobytes()


ORDINARY = {
    "image": ([[[0, 255], [7, 1.5]]], TensorSpec("image", (None, 2, 2, 1), "float32"), "image"),
    "image with channels": ([[[[0], [255]], [[7], [1]]]], TensorSpec("image", (None, 2, 2, 1), "uint8"), "image"),
    "two rows": ([[1, -2e3], [3, 0.25]], TensorSpec("x", (None, 2), "float32"), "array"),
}


@pytest.mark.parametrize(("rows", "spec", "kind"), ORDINARY.values(), ids=ORDINARY)
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")], ids=["Python", "JavaScript"])
def test_the_numbers_of_an_ordinary_body_are_never_python_objects(monkeypatch, rows, spec, kind, separators):
    body = json.dumps({"instances": rows}, separators=separators).encode()

    def slowly(_body):
        raise AssertionError("the body was parsed into Python's objects, which takes ten times as long")

    monkeypatch.setattr(read_instances.orjson, "loads", slowly)
    inputs, count = reader(kind, spec).instances(body, 8)
    assert count == len(rows)
    assert inputs[spec.name].dtype == spec.dtype
    assert inputs[spec.name].ravel().tolist() == np.ravel(rows).tolist()
