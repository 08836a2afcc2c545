"""Tokens, TLS, hosts and rates with the real server."""

import http.client
import json
import ssl
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from certificates import write_certificate
from serving_parts import Client, ask

from registry.errors import ConfigError
from serving.access import tokens
from serving.job import ServeJob
from serving.server import control

BODY = json.dumps({"instances": [{"size": 1, "floors": 1}]})


@pytest.fixture
def live(registry):
    registry.release(registry.put("price"))
    return registry


@pytest.fixture
def with_tokens(live, start, tmp_path):
    """An API that asks for tokens, its folder and the tokens' file."""
    path = tmp_path / "access" / "tokens.json"
    url, folder = start(live, workers=2, auth="tokens", tokens=str(path))
    return url, folder, path


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_token_holds_while_it_is_there_and_is_written_nowhere(with_tokens, until):
    url, folder, path = with_tokens
    status, headers, answer = ask(url, "POST", "/predict", BODY)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="trainyard"')
    assert answer.keys() == {"error", "hint", "request_id"}
    assert ask(url, "GET", "/health/ready")[0] == 200
    token, other = (tokens.make(path, name, [role]) for name, role in (("shop", "predict"), ("labels", "feedback")))
    until(lambda: {ask(url, "POST", "/predict", BODY, bearer(token))[0] for _ in range(8)} == {200})
    assert ask(url, "POST", "/predict", BODY, bearer(other))[0] == 403
    assert ask(url, "GET", "/version", None, bearer("tyd_wrong-and-secret"))[0] == 401
    tokens.revoke(path, "shop")
    until(lambda: {ask(url, "POST", "/predict", BODY, bearer(token))[0] for _ in range(8)} == {401})
    admin = control.admin(folder)
    shown = [ask(admin, "GET", page)[2] for page in ("/status", "/version", "/metrics")]
    written = "".join(each.read_text(errors="replace") for each in folder.rglob("*") if each.is_file())
    for secret in (token, other, "wrong-and-secret", "Bearer tyd", tokens.digest_of(token)):
        assert secret not in written
        assert secret not in str(shown)
    lines = [json.loads(line) for line in (folder / "api.log").read_text().splitlines() if line.startswith("{")]
    assert {"shop", "labels", None} == {line["client"] for line in lines if line["level"] == "access"}
    assert ask(url, "POST", "/v2/models/m/infer", b"{}")[0] == 401
    refused = 'caller="",code="401",protocol="v2",route="/v2/models/{model}/infer",status="401"'
    assert f"trainyard_requests_total{{{refused}}} 1.0" in ask(admin, "GET", "/metrics")[2].decode()
    labels = 'code="{}",protocol="instances",route="/predict",status="{}"'
    for status, caller in (("401", ""), ("200", "shop")):
        text = f'trainyard_requests_total{{caller="{caller}",{labels.format(status, status)}}}'
        assert text in shown[2].decode()


def test_beyond_loopback_it_does_not_start_without_tokens(live, tmp_path):
    job = ServeJob("m", registry=live.url, port=0, host="0.0.0.0")
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        control.start(job, tmp_path / "api")


def test_operators_need_a_token_where_others_reach_their_port(live, start, tmp_path):
    path = tmp_path / "access" / "tokens.json"
    token, client = (tokens.make(path, role, [role]) for role in ("operate", "predict"))
    _, folder = start(live, workers=1, auth="tokens", tokens=str(path), admin_host="0.0.0.0")
    admin = control.admin(folder)
    assert ask(admin, "GET", "/metrics")[0] == 401
    assert ask(admin, "GET", "/metrics", None, bearer(client))[0] == 403
    assert ask(admin, "GET", "/metrics", None, bearer(token))[0] == 200
    assert ask(admin, "GET", "/health/live")[0] == 200


def test_on_loopback_a_web_page_with_a_name_of_its_own_gets_no_answer(live, start):
    url, folder = start(live, workers=1)
    for where, page in ((url, "/example"), (control.admin(folder), "/status")):
        assert ask(where, "GET", page, None, {"Host": "evil.example"})[0] == 421
        assert ask(where, "GET", page, None, {"Host": "localhost:1"})[0] == 200


def test_a_browser_learns_which_pages_may_ask(live, start):
    url, _ = start(live, workers=1, cors_origins=("https://shop.example",))
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    status, headers, _ = ask(url, "OPTIONS", "/predict", None, preflight)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://shop.example")
    status, headers, _ = ask(url, "POST", "/predict", BODY, {"Origin": "https://shop.example"})
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://shop.example")
    status, headers, _ = ask(url, "OPTIONS", "/predict", None, preflight | {"Origin": "https://evil.example"})
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)


def test_the_rate_is_one_of_all_workers(live, start):
    url, folder = start(live, workers=2, requests_per_second=10)
    control.await_release(folder, 1, 20)
    began = time.monotonic()
    answers = [ask(url, "POST", "/predict", BODY) for _ in range(60)]
    allowed = 10 + 10 * (time.monotonic() - began)
    found = Counter(status for status, _, _ in answers)
    assert found.keys() == {200, 429}
    assert 10 <= found[200] <= allowed + 1
    assert {headers["Retry-After"] for status, headers, _ in answers if status == 429} == {"1"}
    assert ask(url, "GET", "/health/live")[0] == 200


class TestTls:
    @pytest.fixture
    def api(self, live, start, tmp_path):
        folder = tmp_path / "tls"
        serial = write_certificate(folder)
        url, _ = start(live, workers=1, certfile=str(folder / "cert.pem"), keyfile=str(folder / "key.pem"))
        return url, folder, serial

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_it_is_spoken_from_1_2_on_and_a_new_certificate_drops_no_connection(self, api, until):
        url, folder, _ = api
        assert url.startswith("https://")
        with connected(url, folder) as kept:
            assert predict(kept) == 200
            old = kept.sock.getpeercert(binary_form=True)
            write_certificate(folder)
            until(lambda: peer(url) != old)
            assert predict(kept) == 200
            with connected(url, folder) as new:
                assert predict(new) == 200
        with pytest.raises(ssl.SSLError):
            peer(url, ssl.TLSVersion.TLSv1_1)

    def test_plain_http_and_clients_that_send_nothing_stop_nobody(self, api):
        url, folder, _ = api
        plain = url.replace("https", "http")
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(plain, "GET", "/health/live")
        quiet = [Client(plain) for _ in range(8)]
        for each in quiet:
            each._connection.connect()
        with connected(url, folder) as client:
            assert predict(client) == 200
        for each in quiet:
            each._connection.close()

    def test_a_key_that_does_not_fit_is_an_error_at_the_start(self, live, tmp_path):
        write_certificate(tmp_path / "a")
        write_certificate(tmp_path / "b")
        files = {"certfile": str(tmp_path / "a" / "cert.pem"), "keyfile": str(tmp_path / "b" / "key.pem")}
        with pytest.raises(ConfigError, match="is not the key of the certificate"):
            control.start(ServeJob("m", registry=live.url, port=0, **files), tmp_path / "api")


class connected:
    """A connection that trusts the certificate in the folder."""

    def __init__(self, url, folder):
        context = ssl.create_default_context(cafile=str(Path(folder) / "cert.pem"))
        where = urlsplit(url)
        self._connection = http.client.HTTPSConnection(where.hostname, where.port, timeout=20, context=context)

    def __enter__(self):
        return self._connection

    def __exit__(self, *_):
        self._connection.close()


def predict(connection):
    connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def peer(url, newest=None):
    """The certificate that a new connection gets, whoever has signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if newest:
        context.minimum_version, context.maximum_version = newest, newest
        context.set_ciphers("ALL:@SECLEVEL=0")
    where = urlsplit(url)
    connection = http.client.HTTPSConnection(where.hostname, where.port, timeout=20, context=context)
    try:
        connection.connect()
        return connection.sock.getpeercert(binary_form=True)
    finally:
        connection.close()
