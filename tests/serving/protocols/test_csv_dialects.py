"""CSV in a request: with commas and points as ever, or written as the files of the dataset, which the signature knows."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records import DateColumn, Signature, TensorSpec, TextRules
from serving.calls import Limits
from serving.errors import Refused
from serving.protocols.body import unpacked_body
from serving.protocols.frames import CSV, FrameReader
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.read_instances import Reader
from training.data.spec import Column, DataSpec

INPUTS = (
    TensorSpec("mass", (None, 1), "float32", may_miss=True),
    TensorSpec("city", (None, 1), "string", may_miss=True),
    TensorSpec("when", (None, 1), "string"),
)
COLUMNS = (
    Column("mass", "numeric", has_missing=True),
    Column("city", "categorical", vocabulary=("Genève", "Zürich; Nord"), has_missing=True),
)
EUROPEAN = TextRules(";", ",", ".", "cp1252", ("-", "k.A."), comment="#", skip_rows=2)
SIGNATURE = Signature(
    "regression",
    "table",
    INPUTS,
    (TensorSpec("y", (None, 1), "float32"),),
    dates=(DateColumn("when", "%d.%m.%Y"),),
    text=EUROPEAN,
)
DATA = DataSpec("table", "regression", INPUTS, (), COLUMNS, missing="keep")
LINES = 'mass;city;when\n# measured\n1.234,5;Genève;01.02.2026\n-;"Zürich; Nord";02.02.2026\n3;k.A.;03.02.2026\n'


def read(body, rules=EUROPEAN, data=DATA):
    reader = Reader(replace(SIGNATURE, text=rules), data)
    return FrameReader(reader).read(CSV, body if isinstance(body, bytes) else body.encode(), 9)[0]


def check(inputs):
    np.testing.assert_array_equal(inputs["mass"], np.array([[1234.5], [np.nan], [3]], np.float32))
    assert inputs["city"].tolist() == [["Genève"], ["Zürich; Nord"], [""]]
    assert inputs["when"].tolist() == [["01.02.2026"], ["02.02.2026"], ["03.02.2026"]]


def test_a_file_like_those_of_the_dataset_is_read_as_they_are():
    check(read(LINES))
    check(read("A title\nand another\n" + LINES))
    check(read(LINES.encode("cp1252")))
    check(read(LINES.replace("\n", "\r\n").encode("utf-8-sig")))
    check(read(LINES.encode("utf-16"), replace(EUROPEAN, encoding="utf-16")))


def test_a_file_with_commas_and_points_is_read_as_such_whatever_the_dataset_has():
    check(read('mass,city,when\n1234.5,Genève,01.02.2026\n,"Zürich; Nord",02.02.2026\n3,-,03.02.2026\n'))
    assert read("city,mass,when\nGenève,1.234,01.02.2026\n")["mass"] == np.float32(1.234)


def test_a_dataset_with_commas_between_columns_says_how_numbers_are_written():
    commas = replace(EUROPEAN, delimiter="", skip_rows=0)
    assert read('mass,city,when\n"1.234,5",Bern,01.02.2026\n', commas)["mass"] == np.float32(1234.5)
    with pytest.raises(Refused, match=r"^column mass\[0\]: '1\.5' is not a number$") as error:
        read("mass,city,when\n1.5,Bern,01.02.2026\n", commas)
    assert 'decimal ","' in error.value.hint


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("mass;city;when\nx;Bern;01.02.2026\n", "column mass[0]: 'x' is not a number", 'delimiter ";", decimal ","'),
        ("mass;city;when\n1;Bern\n", "row 0: 2 values, 3 are expected", "quotes"),
        ("mass|city|when\n1|Bern|01.02.2026\n", "the CSV has '|' between its columns", "trainyard batch"),
        (b"mass;city;when\n1;\x81;01.02.2026\n", "the CSV is not UTF-8, nor cp1252", "save it as UTF-8"),
        ('mass;city;when\n1;"Bern;01.02.2026\n', "the CSV cannot be read: unexpected end of data", ""),
        ("mass;city;when\n", "the CSV has no row", "one line per row"),
        ("", "the body is empty", ""),
    ],
)
def test_what_cannot_be_read_says_how_it_was_read(body, message, hint):
    with pytest.raises(Refused) as error:
        read(body)
    assert (str(error.value), hint in error.value.hint) == (message, True), error.value.hint


@given(st.floats(-1e6, 1e6), st.sampled_from([("", ","), (".", ","), ("", "."), (",", "."), (" ", ",")]))
def test_a_number_is_the_same_however_the_dataset_writes_it(number, marks):
    thousands, decimal = marks
    written = f"{number:,.4f}".translate({ord(","): thousands, ord("."): decimal})
    rules = TextRules("|", decimal, thousands)
    found = read(f"mass|city|when\n{written}|Bern|01.02.2026\n", rules)["mass"]
    assert found == np.float32(round(number, 4))


def test_a_compressed_body_is_read_as_the_plain_one():
    packed = gzip.compress(LINES.encode("cp1252"))
    environ = {"HTTP_CONTENT_ENCODING": "gzip", "CONTENT_LENGTH": str(len(packed)), "wsgi.input": Input(packed)}
    check(read(unpacked_body(environ, Limits(1 << 16, 9))))


class Input:
    """What a server hands on."""

    def __init__(self, data):
        self.data = data

    def read(self, size):
        return self.data[:size]


def test_a_text_that_means_missing_in_the_dataset_is_missing_in_every_form_of_a_request():
    reader = Reader(SIGNATURE, DATA)
    rows = [{"mass": 1, "city": text, "when": "01.02.2026"} for text in ("-", " k.A. ", None, "Basel")]
    assert reader.rows(rows, 9)[0]["city"].tolist() == [[""], [""], [""], ["Basel"]]
    named = NamedInputs(reader)
    assert named.from_texts(INPUTS[1], ["-", "Basel"], (2,), "city").tolist() == [[""], ["Basel"]]


def test_where_nothing_may_be_missing_such_a_text_is_refused():
    inputs = (TensorSpec("city", (None, 1), "string"),)
    signature = Signature("regression", "table", inputs, SIGNATURE.outputs, text=EUROPEAN)
    reader = Reader(signature)
    with pytest.raises(Refused, match=r"^instances\[0\]\.city: '-' means a missing value in the dataset$") as error:
        reader.rows([{"city": "-"}], 9)
    assert error.value.hint == "the model takes no missing values here: send one"
    with pytest.raises(Refused, match="means a missing value in the dataset"):
        NamedInputs(reader).from_texts(inputs[0], ["Basel", "-"], (2,), "city")
    known = DataSpec("table", "regression", inputs, (), (Column("city", "categorical", vocabulary=("-", "Basel")),))
    assert Reader(signature, known).rows([{"city": "-"}], 9)[0]["city"].tolist() == [["-"]]
