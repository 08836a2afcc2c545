"""Requests to Jenkins: the errors for refusals and failures, what is retried, and what no message holds."""

import re
import socket
import ssl
import subprocess
import sys

import pytest
import requests
from fake_jenkins import FakeJenkins, Refusal, denied_page, failure_page, jetty_page, oops_page
from fake_state import NOTE

from pipelines.jenkins_server.client import job_path, open_jenkins
from pipelines.jenkins_server.errors import Forbidden, NotFound, Refused, unreachable
from registry.errors import ConfigError, TryAgain

BUILD = f"{job_path('digits', 'code')}/buildWithParameters"


@pytest.fixture
def client(fake, tmp_path):
    """Waits without waiting: `client.waited` has the pauses."""
    return patient(open_jenkins(fake.config(tmp_path)))


def patient(client):
    client.waited = []
    client.clock = lambda: sum(client.waited)
    client.pause = client.waited.append
    return client


def test_the_version_is_asked_for_with_credentials(fake, client):
    assert client.version() == "2.541.2"
    assert all("Authorization" in seen.headers for seen in fake.requests)


def test_a_jenkins_under_a_path_is_found(tmp_path, fake):
    with FakeJenkins(prefix="/ci") as below:
        assert open_jenkins(below.config(tmp_path)).version() == "2.541.2"
        assert open_jenkins(below.config(tmp_path, url=below.url.rstrip("/"))).version() == "2.541.2"


def test_settings_that_are_missing_are_reported_together(tmp_path, fake, monkeypatch):
    monkeypatch.delenv("TRAINYARD_JENKINS_TOKEN")
    with pytest.raises(ConfigError, match=r"url is empty; .*user is empty; TRAINYARD_JENKINS_TOKEN is not set"):
        open_jenkins(fake.config(tmp_path, url="", user=""))


@pytest.mark.parametrize("token", ["tökèn", "a\tb"])
def test_a_token_that_cannot_be_one_is_refused(tmp_path, fake, monkeypatch, token):
    monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", token)
    with pytest.raises(ConfigError, match="no API token has") as error:
        open_jenkins(fake.config(tmp_path))
    assert token not in str(error.value)


def test_a_wrong_token_names_user_and_variable(tmp_path, fake, monkeypatch):
    monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", "of-another-user")
    with pytest.raises(ConfigError, match="rejects user 'alice'") as error:
        open_jenkins(fake.config(tmp_path)).version()
    assert "TRAINYARD_JENKINS_TOKEN" in error.value.hint


def test_a_missing_permission_is_named_as_the_page_says_it(fake, client):
    fake.state.forbidden.add("Overall/Read")
    with pytest.raises(Forbidden, match="user 'alice' is missing the Overall/Read permission"):
        client.version()


@pytest.mark.parametrize(
    ("header", "words"),
    [("hudson.model.Item.Create", "Job/Create"), ("com.example.Odd.Thing", "com.example.Odd/Thing")],
)
def test_a_missing_permission_is_named_as_the_header_says_it(fake, client, header, words):
    def refuse(_):
        raise Refusal(403, denied_page("Zugriff verweigert"), {"X-Required-Permission": header})

    fake.before = refuse
    with pytest.raises(Forbidden, match=f"missing the {words} permission"):
        client.version()


def test_the_text_of_a_page_is_shown_without_its_menus_and_scripts(fake, client):
    fake.refuse(403, denied_page("Nobody may do this"))
    with pytest.raises(Forbidden, match=r"Access Denied Nobody may do this$"):
        client.version()
    fake.refuse(500, oops_page())
    with pytest.raises(Refused, match=r"A problem occurred while processing the request Logging ID=9a1b2c$"):
        client.version()
    fake.refuse(400, failure_page("No such <thing> & more"))
    with pytest.raises(Refused, match=r"Error No such <thing> & more$"):
        client.version()


def test_what_is_quoted_of_a_console_has_no_notes(fake, client):
    fake.refuse(500, f"{NOTE}[Pipeline] stage\n{NOTE}\x1b[31mit broke", content_type="text/plain;charset=utf-8")
    with pytest.raises(ConfigError, match=re.escape("(500): [Pipeline] stage it broke")):
        client.get("api/json")


def test_what_jenkins_calls_a_mistake_is_quoted(fake, client):
    def refuse(_):
        raise Refusal(400, failure_page(""), {"X-Error": "‘x?’ is an unsafe name".encode().decode("latin-1")})

    fake.before = refuse
    with pytest.raises(Refused, match="‘x\\?’ is an unsafe name") as error:
        client.post("createItem?name=x%3F", body="<a/>")
    assert error.value.status == 400


def test_an_english_jenkins_is_asked_for(fake, client):
    client.version()
    assert fake.requests[0].headers["Accept-Language"] == "en"


def test_what_is_not_there_is_an_error_of_its_own(client):
    with pytest.raises(NotFound, match="job/none/api/json"):
        client.get("job/none/api/json")


def test_another_server_than_jenkins_is_refused(fake, client):
    fake.refuse(200, "<html><body>Welcome to nginx!</body></html>")
    with pytest.raises(ConfigError, match="does not answer with JSON"):
        client.get("api/json")


def test_an_api_token_needs_no_crumb(fake, client):
    fake.add_job("digits/code", parameters={"FORCE": "false"})
    assert client.post(BUILD, {"FORCE": "true"}).status == 201
    assert [seen.path for seen in fake.requests] == [f"/{BUILD}"]


def test_a_password_gets_its_crumb_and_after_a_restart_a_new_one(tmp_path, fake, monkeypatch):
    fake.add_job("digits/code", parameters={"FORCE": "false"})
    monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.password)
    client = open_jenkins(fake.config(tmp_path))
    assert client.post(BUILD).status == 201
    assert client.post(BUILD).status == 201
    asked = [seen.path for seen in fake.requests]
    assert asked == [f"/{BUILD}", "/crumbIssuer/api/json", f"/{BUILD}", f"/{BUILD}"]
    fake.stop()
    fake.start()
    assert client.post(BUILD).status == 201
    assert len(fake.requests) == len(asked) + 3


def test_a_crumb_that_is_never_accepted_is_reported(tmp_path, fake, monkeypatch):
    monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.password)

    def refuse(seen):
        if seen.method == "POST":
            raise Refusal(403, jetty_page(403, "No valid crumb was included in the request"))

    fake.before = refuse
    with pytest.raises(ConfigError, match="crumb") as error:
        open_jenkins(fake.config(tmp_path)).post("createItem?name=x", body="<a/>")
    assert "API token" in error.value.hint
    assert len(fake.posts()) == 2


def test_values_are_sent_in_the_body_and_never_in_the_url(fake, client):
    fake.add_job("digits/code", parameters={"APPROVAL": ""})
    answer = client.post(BUILD, {"APPROVAL": "s3cret & more"})
    assert answer.headers["location"] == f"{fake.url}queue/item/101/"
    assert fake.requests[-1].form == {"APPROVAL": "s3cret & more"}
    assert "s3cret" not in fake.requests[-1].path


def test_a_console_comes_in_pieces(fake, client):
    fake.state.start_build(fake.add_job("digits/code", console=["größer\n", "end\n"]))
    path = f"{job_path('digits', 'code')}/1/logText/progressiveText"
    first = client.text(path)
    assert (first.text, first.more) == ("größer\n", True)
    second = client.text(path, first.end)
    assert (second.text, second.more, second.end) == ("end\n", False, len("größer\nend\n".encode()))


def test_a_jenkins_that_starts_up_is_waited_for(fake, client):
    fake.refuse(503, times=4)
    assert client.version() == "2.541.2"
    assert client.waited == [0.5, 1.0, 2.0, 4.0]


def test_a_post_is_repeated_too_while_jenkins_starts_up(fake, client):
    fake.add_job("digits/code", parameters={"FORCE": "false"})
    fake.refuse(503, times=2)
    assert client.post(BUILD).status == 201
    assert len(fake.state.queue) == 1


def test_the_wait_for_a_jenkins_that_starts_up_has_an_end(fake, client):
    fake.refuse(503, times=99)
    with pytest.raises(TryAgain, match="getting ready to work"):
        client.version()
    assert 60 < sum(client.waited) <= 120


def test_a_restart_in_between_is_waited_for(fake, client):
    client.version()
    fake.stop()
    pauses = iter([lambda: None, lambda: fake.start(starting=1), lambda: None])
    client.pause = lambda seconds: (client.waited.append(seconds), next(pauses)())
    assert client.version() == "2.541.2"


def test_a_jenkins_that_never_answered_is_not_waited_for(fake, client):
    fake.stop()
    with pytest.raises(TryAgain, match="connection refused"):
        client.version()
    assert client.waited == []


def test_a_slow_answer_has_a_limit_and_a_post_is_not_sent_twice(fake, tmp_path):
    client = patient(open_jenkins(fake.config(tmp_path, timeout_seconds=0.2)))
    fake.delay = 1.0
    with pytest.raises(TryAgain, match=r"no answer within 0.2 s") as error:
        client.post("createItem?name=x", body="<a/>")
    assert "timeout_seconds" in error.value.hint
    assert len(fake.posts()) == 1


def test_a_post_whose_answer_was_lost_is_not_repeated(fake, client):
    client.version()
    fake.add_job("digits/code", parameters={"FORCE": "false"})

    def reset(_):
        raise ConnectionResetError

    fake.after = reset
    with pytest.raises(TryAgain, match="connection broke"):
        client.post(BUILD)
    assert len(fake.state.queue) == 1


def test_a_gateway_timeout_is_retried_for_requests_that_change_nothing(fake, client):
    fake.refuse(504, times=2)
    assert client.version() == "2.541.2"
    fake.refuse(504, times=2)
    with pytest.raises(TryAgain, match="the proxy in front of it got no answer"):
        client.post("createItem?name=x", body="<a/>")
    assert len(fake.posts()) == 1


def test_a_redirect_is_not_followed_with_our_token(fake, client, tmp_path):
    with FakeJenkins() as other:

        def redirect(_):
            raise Refusal(302, "", {"Location": other.url})

        fake.before = redirect
        with pytest.raises(ConfigError, match="redirects api/json to") as error:
            client.version()
        assert "[jenkins] url" in error.value.hint
        assert other.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
def test_no_message_holds_the_token(fake, client, status):
    fake.refuse(status, f"<html><body>no: {fake.token}</body></html>", times=99)
    with pytest.raises((ConfigError, TryAgain)) as error:
        client.version()
    assert fake.token not in f"{error.value} {error.value.hint}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    files = str(folder / "cert.pem"), str(folder / "key.pem")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, *name, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def test_a_certificate_of_a_company_is_trusted_when_ca_file_names_its_authority(tmp_path, certificate, monkeypatch):
    with FakeJenkins(tls=certificate) as fake:
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.token)
        monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")  # python-jenkins would verify nothing
        with pytest.raises(ConfigError, match="certificate is not trusted") as error:
            open_jenkins(fake.config(tmp_path)).version()
        assert "ca_file" in error.value.hint
        assert fake.requests == []
        assert open_jenkins(fake.config(tmp_path, ca_file=certificate[0])).version() == "2.541.2"


def test_https_to_an_http_server_is_reported(fake, tmp_path):
    with pytest.raises(ConfigError, match="TLS failed"):
        open_jenkins(fake.config(tmp_path, url=fake.url.replace("http:", "https:"))).version()


def test_a_ca_file_that_cannot_be_read_is_reported(fake, tmp_path):
    with pytest.raises(ConfigError, match="ca_file: cannot read"):
        open_jenkins(fake.config(tmp_path, ca_file=str(tmp_path / "none.pem")))


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ConfigError, "unknown host"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), TryAgain, "Temporary failure"),
        (ssl.SSLError("wrong version number"), ConfigError, "TLS failed"),
        (ConnectionResetError(104, "Connection reset by peer"), TryAgain, "the connection broke"),
    ],
    ids=["no host", "no resolver", "no tls", "reset"],
)
def test_failed_requests_are_sorted_by_who_must_act(fake, tmp_path, cause, kind, words):
    error, _ = unreachable(requests.ConnectionError(cause), fake.config(tmp_path).jenkins)
    assert isinstance(error, kind)
    assert words in str(error)


def test_the_client_loads_no_http_library_before_a_jenkins_is_asked():
    code = "import sys, pipelines.jenkins_server.apply, pipelines.jenkins_server.status; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"requests", "urllib3", "jenkins"} & {name.partition(".")[0] for name in done.stdout.split()}
