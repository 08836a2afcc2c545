"""The clients of other systems, unchanged, against the API: see tests/helpers/real_clients."""

from contextlib import ExitStack

import pytest
import requests
from echo_model import VERSION, echo_model, echo_table, served
from prediction_log_parts import log_job
from real_clients import module, run

from serving.calls import Limits
from serving.feedback.taker import FeedbackTaker
from serving.prediction_log.find import Finder
from serving.prediction_log.writer import PredictionLog

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method"
)
SCHEMATHESIS = ("--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--max-examples", "10", "--checks", CHECKS, "--no-color")  # fmt: skip


def test_tritons_http_client_gets_every_type_shape_and_encoding_back():
    with served(echo_model()) as url:
        assert "36 kinds of requests" in run("triton_http.py", url, str(VERSION))


def test_kserves_client_asks_by_both_protocols():
    with served(echo_model()) as every, served(echo_model(("float32",))) as one, served(None) as none:
        assert "both protocols" in run("kserve_rest.py", every, one, none)


def test_tritons_grpc_client_gets_every_type_shape_and_encoding_back():
    grpc_parts = pytest.importorskip("grpc_parts")
    with ExitStack() as stack:
        models = [echo_model(shape=each) for each in ((3,), (), (2, 2))]
        here = [stack.enter_context(grpc_parts.grpc_here(each, limits=Limits(1 << 20, 64))) for each in models]
        assert "27 kinds of requests" in run("triton_grpc.py", str(VERSION), *(each.target for each in here))


def test_kserves_grpc_client_sends_raw_and_typed():
    grpc_parts = pytest.importorskip("grpc_parts")
    limits = Limits(1 << 20, 64)
    with grpc_parts.grpc_here(echo_model(), limits=limits) as every, grpc_parts.grpc_here(None, limits=limits) as none:
        assert "raw and typed" in run("kserve_grpc.py", every.target, none.target)


def test_mlflows_scoring_client_sends_arrays_and_frames():
    with served(echo_model(("float32",))) as one, served(echo_table({"a": "float32", "b": "string"})) as columns:
        assert "scored" in run("mlflow_scoring.py", one, columns)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "several", "table"])
def test_schemathesis_finds_no_answer_that_the_openapi_document_does_not_promise(kind, tmp_path):
    models = {
        "one": lambda: echo_model(("float32",)),
        "several": lambda: echo_model(("float32", "string")),
        "table": lambda: echo_table({"a": "float32", "b": "string", "c": "int32", "d": "bool"}),
    }
    with served(models[kind]()) as url:
        document = tmp_path / "openapi.json"
        document.write_bytes(requests.get(f"{url}/openapi.json", timeout=20).content)
        module("openapi_spec_validator", document)
        finds_nothing(url, tmp_path)


def finds_nothing(url, folder):
    said = module("schemathesis.cli", "run", f"{url}/openapi.json", *SCHEMATHESIS, cwd=folder)
    assert "No issues found" in said or "passed" in said, said


@pytest.mark.slow
def test_schemathesis_finds_none_either_while_answers_are_logged_and_labelled(tmp_path):
    job, lost = log_job(tmp_path / "log", keep_days=1), []
    log, labels = PredictionLog(job, lost.append), tmp_path / "labels" / "labels.sqlite"
    log.start()
    taker = FeedbackTaker(job, labels, 2, lambda *_: None)  # of two threads none waits for a line that is not there yet
    model = echo_table({"a": "float32", "b": "string"})
    with served(model, prediction_log=log, feedback=taker) as url:
        finds_nothing(url, tmp_path)
        answer = requests.post(f"{url}/predict", json={"instances": [{"a": 1.0, "b": "x"}]}, timeout=20).json()
        log.close()
        report = {"request_id": answer["request_id"], "correct": True}
        added = requests.post(f"{url}/feedback", json=report, timeout=20)
    taker.close()
    assert (added.status_code, added.json()["added"]) == (200, 1)
    assert lost == []
    assert Finder(job).instances() > 10
