"""Whole acceptance tests: the worker against the real API."""

import contextlib
import dataclasses
import shutil
import threading
import time
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from unit_tests_support import serve, write_card

from registry import codec
from registry.records import Candidate
from unit_tests.policy import decide

GOOD = "def test_it_answers(api):\n    assert api.get('/version').ok\n"


def outcomes(report):
    return {case.name: case.outcome for case in report.cases}


def test_a_good_version_passes_every_check(acceptance, versions, thirds):
    found = acceptance.test(GOOD).run(thirds, versions("thirds"))
    assert decide(found) == (True, ())
    api, _, tests = found.reports
    names = list(outcomes(api))
    assert names[:2] == ["becomes ready", "answers with this version"]
    for name in (
        "golden samples: PNG in a form",
        "refuses an image that is cut off",
        "refuses a body that is too large",
    ):
        assert name in names
    assert outcomes(tests) == {"test_team.py::test_it_answers": "passed"}
    assert found.load.requests > 10
    assert found.load.failures == 0
    assert 0 < found.load.p50_ms <= found.load.p95_ms <= found.load.p99_ms
    suites = ET.parse(acceptance.folder / "outputs" / "junit.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["api", "load", "tests"]
    assert suites.get("tests") == str(sum(len(report.cases) for report in found.reports))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "check"),
    [("shop", "refuses a number for the text colour"), ("sum", "refuses NaN for a")],
)
def test_tables_pass_with_checks_of_their_own(acceptance, versions, tmp_path, model, check):
    test = "def test_row(predict, holdout):\n    assert len(predict(holdout.samples)) == len(holdout)\n"
    with serve(tmp_path / "api", versions(model) / "version") as url:
        found = acceptance.test(test).run(url, versions(model))
    assert decide(found) == (True, ())
    names = set(outcomes(found.reports[0]))
    assert {check, "refuses a column that the model does not have", "golden samples: JSON, one by one"} <= names


def test_an_api_that_differs_from_evaluation_is_found_out(acceptance, versions, thirds, tmp_path):
    """The golden answers are another model's, and so is the version number."""
    made = shutil.copytree(versions("thirds"), tmp_path / "other")
    golden = dict(np.load(made / "version" / "golden.npz"))
    golden["out_0"][3] = golden["out_0"][3][::-1]
    golden["out_0"][4] += 2e-4
    np.savez(made / "version" / "golden.npz", **golden)
    card = codec.read(Candidate, made / "version" / "card.json")
    write_card(made / "version", card.model, card.signature, card.served, card.evaluation, number=4)
    accepted, reasons = decide(acceptance.test(GOOD).run(thirds, made))
    assert not accepted
    assert "api: answers with this version: /version says version 3, expected 4" in reasons
    assert any("golden samples: PNG: sample 3: probabilities differ by" in reason for reason in reasons)
    assert all("golden" not in reason or "(and 1 more of 16)" in reason for reason in reasons)


def test_limits_that_are_not_met_are_reasons(acceptance, versions, thirds):
    found = acceptance.test(GOOD).run(thirds, versions("thirds"), min_requests_per_second=1e6, max_p95_ms=0.001)
    accepted, reasons = decide(found)
    assert not accepted
    assert reasons[0].startswith("load: at least 1e+06 requests/s: ")
    assert reasons[1].startswith("load: 95 % within 0.001 ms: 95 % within ")


def test_a_version_that_cannot_be_loaded_is_reported_at_once(acceptance, versions, tmp_path):
    made = shutil.copytree(versions("thirds"), tmp_path / "broken")
    (made / "version" / "model.tflite").write_bytes(b"no model")
    with serve(tmp_path / "api", made / "version") as url:
        accepted, reasons = decide(acceptance.test(GOOD).run(url, made))
    assert not accepted
    assert reasons[0].startswith("load: was not run")
    assert "tests: was not run" in reasons
    assert any("becomes ready: it cannot load this version: " in reason for reason in reasons)


def test_a_server_that_is_not_there_is_waited_for_and_reported(acceptance, versions):
    found = acceptance.test(GOOD).run("http://127.0.0.1:9", versions("thirds"), ready_seconds=0.3)
    assert decide(found)[1][-1] == "api: becomes ready: not ready after 0.3 s: it does not listen"


class Careless(BaseHTTPRequestHandler):
    """Answers everything with the same prediction, and breaks when there is no body."""

    protocol_version = "HTTP/1.1"
    facts = b""

    def do_GET(self):
        self.say(200, self.facts)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        if length > 1 << 20:
            self.close_connection = True
            return
        self.rfile.read(length)
        answer = b'{"predictions": [{"class": "left", "probabilities": {"left": 1, "middle": 0, "right": 0}}]}'
        self.say(*((200, answer) if length else (500, b"Traceback (most recent call last)")))

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Slow(Careless):
    """Is ready, but never answers a prediction."""

    def do_POST(self):
        time.sleep(3)
        self.close_connection = True


@pytest.fixture
def serve_badly():
    """Start a handler; its URL."""
    with contextlib.ExitStack() as stack:

        def start(handler):
            handler.facts = (
                b'{"model": "thirds", "version": 3, "release": 9, "workers": [{"state": "ready"}],'
                b' "limits": {"instances": 9, "body_bytes": 9999}}'
            )
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def test_an_api_that_hangs_is_not_waited_for_again_and_again(acceptance, versions, serve_badly):
    found = acceptance.test(GOOD).run(serve_badly(Slow), versions("thirds"), answer_seconds=0.2)
    accepted, reasons = decide(found)
    assert not accepted
    assert sum("no answer in time, after 0." in reason for reason in reasons) == 2
    assert reasons[-1] == "api: answers in time: 2 answers came too late; the remaining checks were not run"
    assert reasons[:2] == ("load: was not run", "tests: was not run")


@pytest.mark.slow
def test_the_checks_find_an_api_that_lets_everything_pass(acceptance, versions, serve_badly):
    found = acceptance.test(GOOD).run(serve_badly(Careless), versions("thirds"))
    failed = {case.name: case.message for case in found.reports[0].failed}
    assert failed["refuses a wrong shape"].startswith("it answered 200")
    assert failed["refuses an empty body"] == "it answered 500: Traceback (most recent call last)"
    assert failed["refuses a body that is too large"].startswith("the API did not answer")
    assert "golden samples: JSON, all at once" in failed
    assert "/version says" in failed["answers with this version"]
    passed = [name for name, outcome in outcomes(found.reports[0]).items() if outcome == "passed"]
    assert passed == ["becomes ready", "answers its own example", "the same sample, the same answer"]


def test_a_card_with_another_signature_is_found_out(acceptance, versions, thirds, tmp_path):
    made = shutil.copytree(versions("thirds"), tmp_path / "other")
    card = codec.read(Candidate, made / "version" / "card.json")
    inputs = (dataclasses.replace(card.signature.inputs[0], dtype="float32"),)
    signature = dataclasses.replace(card.signature, inputs=inputs)
    write_card(made / "version", card.model, signature, card.served, card.evaluation)
    failed = {case.name: case.message for case in acceptance.test(GOOD).run(thirds, made).reports[0].failed}
    assert "describes the signature of the manifest" in failed
