"""The document of `/openapi.json` and its page; what it promises is tried by schemathesis in tests/serving/clients."""

import pytest
from echo_model import Held, app_of, echo_model, echo_table

from serving.predictors import Predictors
from serving.protocols.dialects import DIALECTS


def document(model):
    return app_of(model).get("/openapi.json").get_json()


def test_every_path_that_a_dialect_answers_is_in_it():
    predictors = Predictors(Held(None), "m")
    paths = document(echo_model(("float32",)))["paths"]
    for each in DIALECTS:
        for path, route in each(predictors).fixed().items():
            if path != "/v2/":
                assert {method.lower() for method in route.handlers} == set(paths[route.name]), route.name


def test_names_of_operations_are_unique_and_every_schema_that_is_named_exists():
    found = document(echo_table({"a": "float32"}))
    names = [each["operationId"] for methods in found["paths"].values() for each in methods.values()]
    assert len(set(names)) == len(names)
    text = str(found)
    for name in found["components"]["schemas"]:
        assert f"#/components/schemas/{name}'" in text, name


def test_an_instance_has_the_columns_of_the_model_with_their_bounds():
    schema = document(echo_table({"a": "uint8", "b": "string", "c": "bool"}))["components"]["schemas"]["Instance"]
    assert schema["required"] == ["a", "b", "c"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["a"] == {"type": "integer", "minimum": 0, "maximum": 255}
    assert schema["properties"]["b"]["type"] == "string"
    assert schema["properties"]["c"] == {"type": "boolean"}


def test_an_instance_without_columns_is_nested_lists():
    schema = document(echo_model(("float32",), (2, 3)))["components"]["schemas"]["Instance"]
    assert (schema["minItems"], schema["items"]["maxItems"]) == (2, 3)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("digits", {"class", "probability", "probabilities"}), ("table", None)],
)
def test_a_prediction_is_described_as_it_is_answered(clients, kind, keys):
    client = clients(kind)
    schema = client.get("/openapi.json").get_json()["components"]["schemas"]["Prediction"]
    example = client.get("/example")
    answer = client.post("/predict", data=example.data, content_type=example.content_type).get_json()["predictions"][0]
    assert set(schema["properties"]) == set(answer)
    assert keys in {None, frozenset(answer)} or keys == set(answer)


def test_the_page_lists_the_same_and_loads_nothing():
    client = app_of(echo_table({"<b>": "float32"}))
    answer = client.get("/docs")
    assert answer.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for path in document(echo_table({"a": "float32"}))["paths"]:
        assert path in answer.text
    assert "<b>" not in answer.text
    assert "<script" not in answer.text


def test_without_a_model_there_is_no_document_yet():
    assert app_of(None).get("/openapi.json").status_code == 503
