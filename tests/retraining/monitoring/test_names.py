"""Which field of the prediction log is which column."""

from retraining.monitoring.names import LogField, category, log_fields

HEADER = {
    "prediction_log": 1,
    "inputs": {
        "mass": {"kept": "value", "type": "float"},
        "age": {"kept": "bin", "type": "int"},
        "island": {"kept": "bin", "type": "text"},
        "sex": {"kept": "value", "type": "text"},
        "is_adult": {"kept": "value", "type": "bool"},
        "name": {"kept": "hash", "type": "text"},
        "scan": {"kept": "file", "type": {"width": "int", "brightness": "float", "hash": "text", "hues": "float[]"}},
        "signal": {"kept": "value", "type": "float[]"},
    },
    "outputs": {
        "p": {"kept": "value", "type": "float[]"},
        "scores": {"kept": "top", "type": {"top": "int[]", "values": "float[]"}},
    },
}


def test_each_field_has_a_name_and_is_numbers_or_categories():
    fields = [(each.name, each.kind, each.is_list) for each in log_fields(HEADER)]
    assert fields == [
        ("inputs.mass", "numbers", False),
        ("inputs.age.bin", "categories", False),
        ("inputs.island.bin", "categories", False),
        ("inputs.sex", "categories", False),
        ("inputs.is_adult", "categories", False),
        ("inputs.scan.width", "numbers", False),
        ("inputs.scan.brightness", "numbers", False),
        ("inputs.scan.hues", "numbers", True),
        ("inputs.signal", "numbers", True),
        ("outputs.p", "numbers", True),
        ("outputs.scores.top", "categories", True),
        ("outputs.scores.values", "numbers", True),
        ("class", "categories", False),
        ("confidence", "numbers", False),
    ]


def test_a_field_says_where_it_is_in_a_line():
    paths = {each.name: each.path for each in log_fields(HEADER)}
    assert paths["inputs.age.bin"] == ("inputs", "age")
    assert paths["inputs.scan.hues"] == ("inputs", "scan", "hues")
    assert paths["class"] == ("class",)


def test_of_a_list_those_places_are_columns_that_are_known():
    known = {"outputs.p[0]", "outputs.p[1]", "outputs.p[3]", "inputs.mass"}
    assert list(LogField("outputs.p", "numbers", ("outputs", "p"), "float[]").columns(known)) == [
        ("outputs.p[0]", 0),
        ("outputs.p[1]", 1),
    ]
    assert list(LogField("inputs.mass", "numbers", ("inputs", "mass"), "float").columns(known)) == [
        ("inputs.mass", None)
    ]
    assert list(LogField("inputs.age", "numbers", ("inputs", "age"), "float").columns(known)) == []


def test_categories_are_named_as_arrow_casts_them():
    import pyarrow as pa

    for value in (True, False, 17, "a", ""):
        assert pa.array([value]).cast(pa.string()).to_pylist() == [category(value)]
