"""What the API answers for each kind of model, against Keras; without gunicorn, which other tests start."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from serving_parts import samples

KINDS = ("digits", "table", "recurrent", "lookup", "price", "pair")


def predict(client, instances):
    response = client.post("/predict", json={"instances": instances})
    assert response.status_code == 200, response.text
    return response.json["predictions"]


def encoded(pixels, mode="L", kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).convert(mode).save(file, kind)
    return file.getvalue()


def test_a_classifier_answers_class_and_probabilities(clients, served_models):
    x, y = samples(served_models / "digits")
    answers = predict(clients("digits"), x["image"][:3].tolist())
    for answer, expected in zip(answers, y["probabilities"], strict=False):
        assert answer["class"] == "abc"[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), abs=1e-5)
        assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
        assert list(answer["probabilities"]) == ["a", "b", "c"]


def test_an_answer_names_model_version_release_and_request(clients):
    response = clients("digits").post("/predict", json={"instances": [np.zeros((8, 8)).tolist()]})
    about = {name: response.json[name] for name in ("model", "version", "release")}
    assert about == {"model": "m", "version": 1, "release": 3}
    assert response.json["request_id"] == response.headers["X-Request-Id"]


def test_a_grey_image_may_be_written_without_its_channel(clients, served_models):
    x, _ = samples(served_models / "digits")
    client = clients("digits")
    assert predict(client, x["image"][:1, :, :, 0].tolist()) == predict(client, x["image"][:1].tolist())


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "content_type", ["image/png", "image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", None]
)
def test_an_image_file_is_the_same_as_its_pixels(clients, served_models, kind, content_type):
    x, _ = samples(served_models / "digits")
    data = encoded(x["image"][0, :, :, 0], kind=kind)
    pixels = np.asarray(Image.open(io.BytesIO(data))).tolist()
    response = clients("digits").post("/predict", data=data, content_type=content_type)
    assert response.json["predictions"] == predict(clients("digits"), [pixels])


def test_images_in_a_form_are_answered_in_order(clients, served_models):
    x, _ = samples(served_models / "digits")
    files = [(io.BytesIO(encoded(pixels[:, :, 0])), f"{i}.png") for i, pixels in enumerate(x["image"][:3])]
    response = clients("digits").post("/predict", data={"image": files}, content_type="multipart/form-data")
    assert response.json["predictions"] == predict(clients("digits"), x["image"][:3].tolist())


def test_a_colour_image_goes_to_a_grey_model_as_grey(clients, served_models):
    x, _ = samples(served_models / "digits")
    client = clients("digits")
    grey, rgb = (client.post("/predict", data=encoded(x["image"][0, :, :, 0], mode)).json for mode in ("L", "RGB"))
    assert grey["predictions"] == rgb["predictions"]


def test_a_table_takes_named_columns_in_any_order(clients, served_models):
    x, y = samples(served_models / "table")
    ages, cities = x["age"][:, 0].tolist(), x["city"][:, 0].tolist()
    rows = [{"city": city, "age": age} for age, city in zip(ages[:5], cities[:5], strict=True)]
    answers = predict(clients("table"), rows)
    assert [each["probabilities"]["yes"] for each in answers] == pytest.approx(
        y["probabilities"][:5, 1].tolist(), abs=1e-5
    )


def test_a_regression_answers_a_value(clients, served_models):
    x, y = samples(served_models / "price")
    rows = [{name: float(array[i, 0]) for name, array in x.items()} for i in range(4)]
    assert [each["value"] for each in predict(clients("price"), rows)] == pytest.approx(
        y["prediction"][:4, 0].tolist(), rel=1e-4
    )


def test_one_sigmoid_for_two_classes_is_the_probability_of_the_second(clients, served_models):
    x, y = samples(served_models / "lookup")
    for answer, probability in zip(
        predict(clients("lookup"), x["words"][:5].tolist()), y["probability"][:, 0], strict=False
    ):
        assert answer["probabilities"] == pytest.approx({"cat": 1 - probability, "dog": probability}, abs=1e-5)
        assert answer["class"] == ("dog" if probability > 0.5 else "cat")


def test_logits_are_called_scores(clients, served_models):
    x, y = samples(served_models / "recurrent")
    answer = predict(clients("recurrent"), x["steps"][:1].tolist())[0]
    assert answer.keys() == {"class", "scores"}
    assert answer["class"] == ("up", "down")[y["logits"][0].argmax()]


def test_several_inputs_and_outputs_go_by_name(clients, served_models):
    x, y = samples(served_models / "pair")
    answer = predict(clients("pair"), [{name: array[0].tolist() for name, array in x.items()}])[0]
    assert answer["one"] == {"value": pytest.approx(float(y["one"][0, 0]), rel=1e-4)}
    assert answer["four"]["values"] == pytest.approx(y["four"][0].tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_a_valid_request(clients, kind):
    client = clients(kind)
    example = client.get("/example")
    response = client.post("/predict", data=example.data)
    assert response.status_code == 200, response.text
    assert len(response.json["predictions"]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_page_describes_the_model(clients, kind):
    facts = clients(kind).get("/").json
    assert (facts["model"], facts["version"], facts["release"]) == ("m", 1, 3)
    assert {each["name"] for each in facts["inputs"]}
    assert facts["curl"][0] == "curl -s http://localhost/example | curl -s --data-binary @- http://localhost/predict"


def test_a_browser_gets_a_page_without_script(clients):
    response = clients("table").get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in response.text
    assert "0 to 120" in response.text


def test_a_host_header_cannot_smuggle_a_command_into_the_curl_line(clients):
    facts = clients("digits").get("/", headers={"Host": "x;rm -rf $HOME"}).json
    assert facts.get("curl", [""])[0].count(";") == 0


def test_a_clients_request_id_is_kept_when_it_is_one(clients):
    client = clients("digits")
    assert client.get("/health/live", headers={"X-Request-Id": "abc-1.2:3_4"}).headers["X-Request-Id"] == "abc-1.2:3_4"
    for bad in ("two words", "é", "x" * 129, '"}'):
        found = client.get("/health/live", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert found != bad
        assert json.dumps(found)


def test_request_ids_differ(clients):
    client = clients("digits")
    assert len({client.get("/health/live").headers["X-Request-Id"] for _ in range(50)}) == 50
