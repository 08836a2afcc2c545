"""The prediction log of a real API: its server processes, behind their fence, keep what they answer."""

import json
import time

from prediction_log_parts import log_job
from serving_parts import ask, samples

from serving.prediction_log.tables import Wanted, read
from serving.server import control


def rows(folder, **wanted):
    return [row for table in read(folder, Wanted(**wanted)) for row in table.to_pylist()]


def test_an_api_keeps_what_it_answers_and_shows_what_it_keeps(start, registry, served_models, tmp_path):
    registry.release(registry.put("table"))
    folder = tmp_path / "log"
    url, api = start(registry, prediction_log=log_job(folder), workers=1)
    x, _ = samples(served_models / "table")
    names = list(x)
    body = {"instances": [{name: x[name][i].reshape(-1).tolist()[0] for name in names} for i in range(2)]}
    status, _, answer = ask(url, "POST", "/predict", json.dumps(body), {"X-Request-Id": "mine"})
    assert status == 200, answer
    assert ask(url, "POST", "/predict", b"{", {"X-Request-Id": "bad"})[0] == 400
    assert ask(url, "GET", "/version")[0] == 200
    until = time.monotonic() + 10
    while len(rows(folder, live=True)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    kept = rows(folder, live=True)
    assert [(each["id"], each["row"], each["status"], each["protocol"]) for each in kept] == [
        ("mine", 0, 200, "instances"), ("mine", 1, 200, "instances"), ("bad", None, 400, "instances"),
    ]  # fmt: skip
    assert [each["class"] for each in kept[:2]] == [each["class"] for each in answer["predictions"]]
    assert (kept[0]["model"], kept[0]["release"]) == ("m", 1)
    said = ask(url, "GET", "/", headers={"Accept": "application/json"})[2]["kept"]
    assert set(said["inputs"]) == set(names)
    page = ask(url, "GET", "/", headers={"Accept": "text/html"})[2].decode()
    assert "What is kept" in page
    control.stop(api)
    assert len(rows(folder)) == 3  # a server that ends closes its segment


def test_without_a_log_nothing_is_kept_and_the_page_says_so(start, registry):
    registry.release(registry.put("table"))
    url, _ = start(registry, workers=1)
    assert ask(url, "GET", "/", headers={"Accept": "application/json"})[2]["kept"] is None
