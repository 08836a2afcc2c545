"""Explanations as clients ask for them; the rules are tested in tests/serving/explain."""

import io
import threading

import pytest
from echo_model import Held, app_of, echo_model
from PIL import Image

from serving.app import create_app
from serving.calls import Limits
from serving.metrics.counters import CounterTable


@pytest.fixture
def digits(clients):
    return clients("digits")


def test_an_image_is_explained_as_numbers_and_as_a_heat_map(digits):
    image = digits.get("/example").data
    answer = digits.post("/explain", data=image)
    assert answer.status_code == 200, answer.text
    (found,) = answer.get_json()["explanations"]
    predicted = digits.post("/predict", data=image).get_json()["predictions"][0]
    assert (found["class"], found["method"]) == (predicted["class"], "occlusion")
    assert found["value"] == pytest.approx(predicted["probability"], abs=1e-5)
    assert len(found["heat"]) == len(found["heat"][0])
    drawn = digits.post("/explain", data=image, headers={"Accept": "image/png"})
    assert (drawn.content_type, drawn.headers["X-Explained-Class"]) == ("image/png", predicted["class"])
    assert Image.open(io.BytesIO(drawn.data)).mode == "RGB"


def test_a_row_of_a_table_is_explained_by_its_columns(clients):
    client = clients("table")
    example = client.get("/example").get_json()
    answer = client.post("/explain?budget_ms=400", json=example)
    assert answer.status_code == 200, answer.text
    (found,) = answer.get_json()["explanations"]
    assert found["output"]
    same = client.post("/v1/models/m:explain", json=example).get_json()["explanations"][0]
    assert same["class"] == found["class"]


def test_an_array_is_explained_by_its_parts():
    client = app_of(echo_model(("float32",), (4,)))
    answer = client.post("/explain?class=2", json={"instances": [[1, 2, 3, 4]]})
    (found,) = answer.get_json()["explanations"]
    assert (found["method"], found["value"]) == ("occlusion", 3.0)
    assert max(found["parts"], key=lambda each: abs(each["value"]))["from"] == 2


def test_a_version_is_explained_by_its_number():
    client, body = app_of(echo_model(("float32",), (4,))), {"instances": [[1, 2, 3, 4]]}
    live, one = (client.post(f"/v1/models/m{end}:explain", json=body) for end in ("", "/versions/7"))
    assert one.status_code == 200
    assert one.get_json()["version"] == 7
    assert one.get_json()["explanations"][0]["parts"] == live.get_json()["explanations"][0]["parts"]
    other = client.post("/v1/models/m/versions/8:explain", json=body)
    assert (other.status_code, "version 8" in other.get_json()["error"]) == (404, True)
    assert client.post("/v1/models/m/versions/7x:explain", json=body).status_code == 404


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?class=99", "not known"),
        ("?output=x", "not known"),
        ("?budget_ms=0", "budget_ms"),
        ("?budget_ms=501", "budget_ms"),
        ("?budget_ms=1e2", "budget_ms"),
        ("?budget_ms=50&budget_ms=60", "there twice"),
        ("?other=1", "not known"),
        ("?" + "&".join(f"a{i}=1" for i in range(20)), "too many fields"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query, message):
    answer = app_of(echo_model(("float32",))).post(f"/explain{query}", json={"instances": [[1, 2, 3]]})
    assert (answer.status_code, message in answer.get_json()["error"]) == (400, True)


def test_more_rows_than_can_be_explained_are_413_and_bad_rows_400():
    client = app_of(echo_model(("float32",)), max_instances=50)
    assert client.post("/explain", json={"instances": [[1, 2, 3]] * 17}).status_code == 413
    answer = client.post("/explain", json={"instances": [[1, 2, "3"]]})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "instances[0][2]: '3' is not a number")


def test_what_has_no_heat_map_is_406():
    client = app_of(echo_model(("float32",)))
    png = {"Accept": "image/png"}
    assert client.post("/explain", json={"instances": [[1, 2, 3]]}, headers=png).status_code == 406
    assert client.post("/explain", json={"instances": [[1, 2, 3]] * 2}, headers=png).status_code == 406


def test_one_is_made_at_a_time_and_predictions_do_not_wait():
    begun, done = threading.Event(), threading.Event()
    model = echo_model(("float32",))
    engine, answers = model.engine, []

    def slow(inputs):
        if threading.current_thread().name == "slow":
            begun.set()
            done.wait(20)
        return engine(inputs)

    object.__setattr__(model, "engine", slow)
    client = app_of(model)
    body = {"instances": [[1, 2, 3]]}
    first = threading.Thread(target=lambda: answers.append(client.post("/explain", json=body)), name="slow")
    first.start()
    assert begun.wait(20)
    assert client.post("/explain?budget_ms=20", json=body).status_code == 503
    assert client.post("/predict", json=body).status_code == 200
    done.set()
    first.join()
    assert answers[0].status_code == 200
    assert client.post("/explain", json=body).status_code == 200


def test_an_api_can_be_set_to_explain_nothing():
    app = create_app(Held(echo_model(("float32",))), "m", Limits(1000, 10, 0), CounterTable().counters(0))
    answer = app.test_client().post("/explain", json={"instances": [[1, 2, 3]]})
    assert (answer.status_code, "explains nothing" in answer.get_json()["error"]) == (404, True)
