"""What is written to an MLflow server is there once, whatever is repeated. The stand-in and the real server keep one contract."""

import itertools
import socket
import time
import uuid

import pytest
import real_clients
import requests
from fake_mlflow import FakeMLflow

from pipelines.exports.http import Refused, Server, Unavailable
from pipelines.exports.mlflow_server import MLflow


@pytest.fixture(scope="module", params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
def url(request, tmp_path_factory):
    if request.param == "stand-in":
        fake = FakeMLflow()
        yield fake.url
        fake.close()
        return
    folder = tmp_path_factory.mktemp("mlflow")
    places = ["--backend-store-uri", f"sqlite:///{folder}/ml.db", "--artifacts-destination", str(folder / "files")]
    with real_clients.mlflow(folder, "server", "--workers", "1", *places) as url:
        yield url


@pytest.fixture
def model():
    """A name that no other test has."""
    return f"m{uuid.uuid4().hex[:8]}"


def mlflow(url):
    return MLflow(Server(url, None, 20.0, 60.0))


def document(model, run="abc", **changes):
    return {
        "run": run,
        "model": model,
        "start": 1_000_000,
        "end": 1_090_000,
        "status": "FINISHED",
        "tags": {"trainyard.run": run, "mlflow.note.content": "it was accepted ✓"},
        "params": {"training.epochs": "20"},
        "metrics": [{"key": "training/loss", "value": 1 / (i + 1), "timestamp": 1000 + i, "step": i} for i in range(3)],
        "dataset": {"name": f"dataset of {model}", "digest": "d" * 36, "source_type": "git", "source": "{}"},
        "version": None,
    } | changes


def get(url, path, **query):
    answer = requests.get(f"{url}/api/2.0/mlflow/{path}", params=query, timeout=20)
    answer.raise_for_status()
    return answer.json()


def read(url, page):
    return get(url, "runs/get", run_id=page.rpartition("/")[2])["run"]


def values(pairs):
    return {each["key"]: each["value"] for each in pairs}


def alias(url, model, name):
    found = requests.get(
        f"{url}/api/2.0/mlflow/registered-models/alias", params={"name": model, "alias": name}, timeout=20
    )
    return values_of_version(found.json()["model_version"]) if found.ok else None


def values_of_version(version):
    tags = version["tags"]
    return (tags if isinstance(tags, dict) else values(tags))["trainyard.version"]


def test_a_run_is_there_with_all_that_was_written(url, model):
    page, notes = mlflow(url).write_run(document(model), model, {})
    run = read(url, page)
    assert notes == ()
    assert (run["info"]["status"], run["info"]["start_time"], run["info"]["end_time"]) == (
        "FINISHED",
        1_000_000,
        1_090_000,
    )
    assert values(run["data"]["params"]) == {"training.epochs": "20"}
    assert values(run["data"]["tags"])["mlflow.note.content"] == "it was accepted ✓"
    assert values(run["data"]["metrics"])["training/loss"] == pytest.approx(1 / 3)
    assert run["inputs"]["dataset_inputs"][0]["dataset"]["digest"] == "d" * 36


def test_a_run_that_is_written_again_is_the_same_one(url, model):
    first, _ = mlflow(url).write_run(
        document(model, status="FAILED", metrics=document(model)["metrics"][:1]), model, {}
    )
    again, _ = mlflow(url).write_run(document(model), model, {})
    assert again == first
    assert read(url, again)["info"]["status"] == "FINISHED"
    curve = get(url, "metrics/get-history", run_id=again.rpartition("/")[2], metric_key="training/loss")["metrics"]
    assert sorted(each["step"] for each in curve) == [0, 1, 2], "nothing is there twice"


def test_another_run_is_another_one(url, model):
    assert mlflow(url).write_run(document(model, "a"), model, {}) != mlflow(url).write_run(
        document(model, "b"), model, {}
    )


def test_what_is_too_much_for_one_request_is_sent_in_parts(url, model):
    many = document(
        model,
        tags={"trainyard.run": "abc"} | {f"tag-{i}": "x" for i in range(150)},
        params={f"p{i}": "x" for i in range(150)},
        metrics=[{"key": "loss", "value": float(i), "timestamp": 1000 + i, "step": i} for i in range(1500)],
    )
    page, _ = mlflow(url).write_run(many, model, {})
    run = read(url, page)
    assert len(run["data"]["params"]) == 150
    assert {f"tag-{i}" for i in range(150)} <= values(run["data"]["tags"]).keys()
    assert values(run["data"]["metrics"])["loss"] == 1499.0


def test_artifacts_can_be_read_back(url, model):
    page, notes = mlflow(url).write_run(document(model), model, {"report/index.html": b"<p>x", "report/a b.txt": b"y"})
    assert notes == ()
    root = read(url, page)["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/").strip("/")
    for name, data in (("index.html", b"<p>x"), ("a b.txt", b"y")):
        found = requests.get(f"{url}/api/2.0/mlflow-artifacts/artifacts/{root}/report/{name}", timeout=20)
        assert (found.status_code, found.content) == (200, data)


def test_a_version_is_registered_once_and_found_by_its_number(url, model):
    made = document(model, version={"number": 7, "how": "trained"})
    for _ in range(2):
        mlflow(url).write_run(made, model, {})
    assert mlflow(url).set_aliases(model, {"champion": 7, "challenger": None}) == ()
    wanted = f"name = '{model}' and tags.`trainyard.version` = '7'"
    assert len(get(url, "model-versions/search", filter=wanted)["model_versions"]) == 1


def test_the_files_of_a_version_are_where_its_registered_version_says(url, model, tmp_path):
    (tmp_path / "weights").write_bytes(b"w" * 100_000)
    made = document(model, version={"number": 1, "how": "trained"})
    page, _ = mlflow(url).write_run(made, model, {}, {"pyfunc/weights": tmp_path / "weights"})
    wanted = f"name = '{model}' and tags.`trainyard.version` = '1'"
    (version,) = get(url, "model-versions/search", filter=wanted)["model_versions"]
    assert version["source"] == read(url, page)["info"]["artifact_uri"] + "/model"
    root = version["source"].removeprefix("mlflow-artifacts:/").strip("/")
    found = requests.get(f"{url}/api/2.0/mlflow-artifacts/artifacts/{root}/pyfunc/weights", timeout=20)
    assert found.content == b"w" * 100_000


def test_aliases_follow_what_is_live(url, model):
    for number in (1, 2):
        mlflow(url).write_run(document(model, f"run{number}", version={"number": number, "how": "trained"}), model, {})
    server = mlflow(url)
    server.set_aliases(model, {"champion": 1, "challenger": 2})
    assert (alias(url, model, "champion"), alias(url, model, "challenger")) == ("1", "2")
    server.set_aliases(model, {"champion": 2, "challenger": None})
    assert (alias(url, model, "champion"), alias(url, model, "challenger")) == ("2", None)
    server.set_aliases(model, {"champion": None, "challenger": None})
    assert alias(url, model, "champion") is None


def test_an_alias_does_not_stay_at_another_version_when_the_wanted_one_is_not_there(url, model):
    mlflow(url).write_run(document(model, version={"number": 1, "how": "trained"}), model, {})
    mlflow(url).set_aliases(model, {"champion": 1})
    assert mlflow(url).set_aliases(model, {"champion": 5}) == ("champion (version 5)",)
    assert alias(url, model, "champion") is None


def test_aliases_of_a_model_that_the_server_does_not_know_are_no_error(url, model):
    assert mlflow(url).set_aliases(model, {"champion": None, "challenger": 3}) == ("challenger (version 3)",)


def test_what_the_server_refuses_is_refused_with_its_reason(url, model):
    with pytest.raises(Refused, match=r"Names may only|Invalid value"):
        mlflow(url).write_run(document(model, params={"a=b": "1"}), model, {})


class TestASingleServer:
    """Of the stand-in, which can be made to misbehave."""

    @pytest.fixture
    def fake(self):
        fake = FakeMLflow()
        yield fake
        fake.close()

    def test_without_artifacts_on_the_server_there_is_a_note(self, fake):
        fake.proxied = False
        _, notes = mlflow(fake.url).write_run(document("m"), "m", {"report/index.html": b"x"})
        assert "--serve-artifacts" in notes[0]
        assert fake.artifacts == {}

    def test_artifacts_are_sent_as_they_are(self, fake):
        page, _ = mlflow(fake.url).write_run(document("m"), "m", {"report/ä b.html": b"x"})
        assert fake.artifacts == {f"1/{page.rpartition('/')[2]}/artifacts/report/ä b.html": b"x"}

    @pytest.mark.parametrize(
        ("say", "reason"),
        [
            ((500, b"{}", {}), "500"),
            ((401, b"You are not authenticated", {}), "401"),
            ((404, b"<html>", {}), "404"),
            ((302, b"", {"Location": "http://127.0.0.1:9/"}), "redirects are not followed"),
            ((200, b"<html>hello", {}), "is not JSON"),
            ((200, b"[" * 100_000, {}), "is not JSON"),
            ((200, b'{"a": "' + b"x" * (5 << 20) + b'"}', {}), "too long"),
        ],
        ids=["broken", "login", "another page", "redirect", "HTML", "deep", "huge"],
    )
    def test_a_server_that_is_something_else_is_unavailable(self, fake, say, reason):
        fake.say = say
        with pytest.raises(Unavailable, match=reason):
            mlflow(fake.url).write_run(document("m"), "m", {})

    def test_whichever_request_fails_a_repetition_completes_what_was_begun(self, fake, tmp_path):
        (tmp_path / "weights").write_bytes(b"w")
        made = document("m", version={"number": 1, "how": "trained"})
        for requests_answered in itertools.count():
            fake.dies_after = len(fake.asked) + requests_answered
            try:
                mlflow(fake.url).write_run(made, "m", {"report/index.html": b"x"}, {"weights": tmp_path / "weights"})
            except Unavailable:
                continue
            break
        assert requests_answered > 10
        (run,) = fake.runs.values()
        assert (run["info"]["status"], run["params"]) == ("FINISHED", {"training.epochs": "20"})
        assert len(run["metrics"]) == 3
        assert len(fake.models["m"]["versions"]) == 1
        assert len(fake.artifacts) == 2

    def test_nobody_waits_longer_than_the_time_for_one_answer(self, fake):
        fake.wait = 5.0
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no answer within"):
            MLflow(Server(fake.url, None, 0.2, 60.0)).write_run(document("m"), "m", {})
        assert time.monotonic() - began < 2

    def test_nobody_waits_for_an_answer_that_comes_byte_by_byte(self, fake):
        fake.drips = 0.05
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no answer within"):
            MLflow(Server(fake.url, None, 0.3, 60.0)).write_run(document("m"), "m", {})
        assert time.monotonic() - began < 2

    def test_nobody_waits_for_a_name_that_is_not_found(self, monkeypatch):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no answer within"):
            MLflow(Server("http://mlflow.example.org", None, 0.2, 60.0)).write_run(document("m"), "m", {})
        assert time.monotonic() - began < 2

    def test_all_together_have_a_time_too(self, fake):
        fake.wait = 0.1
        with pytest.raises(Unavailable, match=r"no time left|no answer"):
            MLflow(Server(fake.url, None, 5.0, 0.3)).write_run(document("m"), "m", {})

    def test_a_port_where_nobody_listens_is_unavailable(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(Unavailable, match="cannot be reached"):
            mlflow(f"http://127.0.0.1:{port}").write_run(document("m"), "m", {})
