"""What the API answers for each kind of model, against Keras; without gunicorn, which other tests start."""

import base64
import hashlib
import html.parser
import io
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image
from serving_parts import samples

from serving.app import create_app
from serving.calls import Limits
from serving.predictor import Predictor
from serving.protocols.dialects import predictor_for
from training.data.spec import Column, DataSpec

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
    style = response.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in response.headers["Content-Security-Policy"]
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


class Form(html.parser.HTMLParser):
    """The fields of a page's form as a browser sends them."""

    def __init__(self, page):
        super().__init__()
        self.fields, self.target, self.files, self._open = {}, "", [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.target = attrs["action"]
            assert (attrs["method"], attrs["enctype"]) == ("post", "multipart/form-data")
        elif tag == "input" and attrs.get("type") == "file":
            self.files.append(attrs["name"])
        elif tag == "input":
            self.fields[attrs["name"]] = attrs["value"]
        elif tag == "textarea":
            self._open, self.fields[attrs["name"]] = attrs["name"], ""
        elif tag == "option" and "selected" in attrs:
            self._open = self._select
            self.fields[self._select] = ""
        if tag == "select":
            self._select = attrs["name"]

    def handle_data(self, data):
        if self._open:
            self.fields[self._open] += data

    def handle_endtag(self, tag):
        if tag in {"textarea", "option"}:
            self._open = ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_of_the_first_page_can_be_sent_as_it_is(clients, served_models, kind):
    client = clients(kind)
    form = Form(client.get("/", headers={"Accept": "text/html"}).text)
    data = dict(form.fields)
    for name in form.files:
        data[name] = (io.BytesIO(client.get("/example").data), "example.png")
    response = client.post(f"/{form.target}", data=data, content_type="multipart/form-data")
    assert response.status_code == 200, response.text
    assert len(response.json["predictions"]) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"age": "12,5", "city": "Bern"}, "instances[0].age: '12,5' is not a number"),
        ({"age": "", "city": "Bern"}, "instances[0].age: '' is not a number"),
        ({"age": "[1]", "city": "Bern"}, "instances[0].age: a list is not a number"),
        ({"age": "1"}, "instances[0].city: this column is missing"),
        ({"age": "1", "city": "Bern", "colour": "red"}, "instances[0].colour: no such column"),
        ({"json": "{"}, "the body is not JSON"),
        ({}, "the form holds no field"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_with_the_field(clients, fields, said):
    boundary = '--q\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = "".join(boundary % each for each in fields.items()) + "--q--\r\n"
    response = clients("table").post("/predict", data=body, content_type="multipart/form-data; boundary=q")
    assert response.status_code == 400
    assert response.json["error"].startswith(said)


@dataclass
class Held:
    """A model that nobody swaps."""

    current: Predictor
    error: str = ""


def test_no_value_that_few_samples_share_is_shown_to_a_stranger(loaded, clients):
    rare, common = "Ada called about invoice 4711", "Bern"
    model = loaded("table")
    columns = (Column("age", "numeric", 40.1, 100.0), Column("city", "categorical", 0, 1, (rare, common), (common,)))
    data = replace(model.data, columns=columns) if model.data else DataSpec("table", "classification", (), (), columns)
    app = create_app(Held(predictor_for(replace(model, data=data))), "m", Limits(1 << 20, 100))
    client = app.test_client()
    said = client.get("/").text + client.get("/", headers={"Accept": "text/html"}).text + client.get("/example").text
    assert rare not in said
    assert client.get("/example").text == '{"instances":[{"age":40.1,"city":"Bern"}]}\n'
    facts = {each["name"]: each for each in client.get("/").json["inputs"]}
    assert facts["age"]["typical"] == [20.0, 60.0]
    assert facts["city"]["known_values"] == [common]


def test_the_smallest_number_of_a_dtype_is_not_shown_as_a_bound(clients):
    client = clients("price")
    said = client.get("/").text + client.get("/", headers={"Accept": "text/html"}).text
    assert "e+38" not in said
    name = client.get("/").json["inputs"][0]["name"]
    row = client.get("/example").json["instances"][0] | {name: 1e300}
    assert (
        client.post("/predict", json={"instances": [row]}).json["error"]
        == f"instances[0].{name}: 1e+300 is more than float32 can hold"
    )
